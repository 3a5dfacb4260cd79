"""A company's server and an employee's laptop as two machines: two network namespaces with a cable between.

The laptop has the client's package and nothing else of this repository. Both namespaces are ours alone, so
the server may listen on an address that is not the loopback's.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fl_server.platform import ports
from tests.e2e.api import ADMIN, WARMED_UP, Api, until
from tests.e2e.platform import ROOT, Client, Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
SERVER_ADDRESS, LAPTOP_ADDRESS = "10.77.0.1", "10.77.0.2"
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Cable:
    """Names of the two namespaces."""

    server: str
    laptop: str


@dataclass
class Company:
    platform: Platform
    admin: Api
    cable: Cable
    laptop: Client
    code: str

    def state_of_code(self) -> tuple[str, int]:
        row = self.admin.rows("enrolment/codes")[0]
        return row["state"], row["uses"]


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread, what it opens and what it starts, on that machine's network."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path: str) -> None:
        with open(path) as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {path}")

    with open("/proc/thread-self/ns/net") as here:
        enter(f"/run/netns/{namespace}")
        try:
            yield
        finally:
            if libc.setns(here.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot leave the namespace")


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    made = Cable(f"cst-server-{os.getpid()}", f"cst-laptop-{os.getpid()}")
    try:
        try:
            for name in (made.server, made.laptop):
                ip("netns", "add", name)
            ip(
                "link",
                "add",
                "plug0",
                "netns",
                made.server,
                "type",
                "veth",
                "peer",
                "plug1",
                "netns",
                made.laptop,
            )
            ends = ((made.server, "plug0", SERVER_ADDRESS), (made.laptop, "plug1", LAPTOP_ADDRESS))
            for name, plug, address in ends:
                ip("-n", name, "address", "add", f"{address}/30", "dev", plug)
                ip("-n", name, "link", "set", plug, "up")
                ip("-n", name, "link", "set", "lo", "up")
            with inside(made.server):
                pass
        except OSError as exc:
            pytest.skip(f"this machine lets us make no network namespaces ({exc})")
        yield made
    finally:
        # The last namespace takes the cable with it.
        for name in (made.server, made.laptop):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=10)


@pytest.fixture(scope="module")
def company(cable: Cable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("company")
    package = folder / "laptop" / "fl_client"
    shutil.copytree(ROOT / "fl_client", package, ignore=shutil.ignore_patterns("__pycache__"))
    with inside(cable.server):
        platform = Platform(folder, SERVER_ADDRESS)
        try:
            platform.start()
            platform.admit_people()
            admin = platform.login(ADMIN)
            laptop = platform.client("laptop-1", package.parent)
            yield Company(platform, admin, cable, laptop, admin.code(max_uses=1)["code"])
        finally:
            platform.stop()


def test_the_laptop_has_nothing_but_the_client(company: Company) -> None:
    program = "import fl_client; print(fl_client.__file__); import fl_server"
    command = [sys.executable, "-c", program]
    where, environment = company.laptop.code_folder, company.laptop.environment
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)
    assert Path(done.stdout.strip()).is_relative_to(where)
    assert "No module named 'fl_server'" in done.stderr


def test_a_server_with_another_authority_is_refused_before_the_secret_leaves(company: Company) -> None:
    with inside(company.cable.laptop):
        status, _, complaint = company.laptop.call("enrol", company.code, "--ca-fingerprint", "0" * 64)
    assert status == 7
    assert "Nothing was sent" in complaint
    assert company.state_of_code() == ("open", 0)
    assert not (company.laptop.folder / "identity.key").exists()


def test_plain_http_to_another_machine_is_refused(company: Company) -> None:
    plain = company.platform.url.replace("https", "http")
    with inside(company.cable.laptop):
        status, _, complaint = company.laptop.call("enrol", company.code, "--url", plain)
    assert status == 2
    assert "must start with https://" in complaint
    assert company.state_of_code() == ("open", 0)


def test_only_the_public_port_can_be_reached_from_the_laptop(company: Company) -> None:
    listening = {
        connection.laddr
        for process in company.platform.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert (SERVER_ADDRESS, company.platform.port) in listening
    assert {address for address, _ in listening} == {SERVER_ADDRESS, "127.0.0.1"}
    with inside(company.cable.laptop):
        assert ports.is_open(SERVER_ADDRESS, company.platform.port)
        for _, port in listening - {(SERVER_ADDRESS, company.platform.port)}:
            assert not ports.is_open(SERVER_ADDRESS, port)


def test_a_laptop_joins_with_the_code_alone_and_trains_a_job_over_tls(company: Company) -> None:
    with inside(company.cable.laptop):
        company.laptop.enrol(company.code)
        company.laptop.start()
    company.platform.online(company.admin, "laptop-1")
    assert company.state_of_code() == ("used-up", 1)
    alone = {"min_devices": 1, "max_devices": 1}
    job = company.admin.job("From afar", rounds=2, participation=alone, partition={"count": 4})
    job.completed()
    assert [row["examples"] for row in job.rounds()] == [2000, 2000]
    with inside(company.cable.laptop):
        status, output, complaint = company.laptop.call("status")
    assert status == 0, complaint
    assert company.platform.url in output


def test_a_cut_network_costs_time_but_no_round_and_no_machine_appears_twice(company: Company) -> None:
    alone = {"min_devices": 1, "max_devices": 1}
    # Three rounds of about five seconds, so that the cable is out in the middle of one.
    slow = {"model": {"name": "cnn"}, "rounds": 3, "training": {"batch_size": 200, "learning_rate": 0.05}}
    job = company.admin.job("Over a bad line", **slow, participation=alone, partition={"count": 2})
    until(lambda: job.trained_by("laptop-1"), "a round trains", WARMED_UP)
    plug = ("-n", company.cable.laptop, "link", "set", "plug1")
    ip(*plug, "down")
    time.sleep(6.0)
    ip(*plug, "up")
    job.completed()
    rounds = job.rounds()
    assert [(row["number"], row["examples"], row["accepted"]) for row in rounds] == [
        (number, 4000, 1) for number in (1, 2, 3)
    ]
    parts = job.parts()
    assert sorted(part["round"] for part in parts if part["status"] == "accepted") == [1, 2, 3]
    assert len(parts) == len({(part["run"], part["round"]) for part in parts})
    assert len(company.admin.rows("devices", name="laptop-1")) == 1
