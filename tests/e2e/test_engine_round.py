"""Rounds through the real engine: SuperLink and SuperExec as the Procfile has them, behind the gateway."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import connection
from flwr.app import RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fl_client import weights
from fl_client.worker_process import WorkerProcess
from fl_server.exceptions import Conflict
from fl_server.flower import control, engine
from fl_server.models import Participation
from fl_server.platform import groups, ports
from tests.e2e.desks import Arrays, Company, CrookedLink, CutOffLink, QuickWorker, Tamper, public_pem

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
Status = Participation.Status


def database_url() -> str:
    """The test database, as other processes reach it."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the gateway; the engine behind it is the one that this process's settings name."""
    address, patch = f"127.0.0.1:{ports.free()}", pytest.MonkeyPatch()
    port = ports.free()
    patch.setattr(settings, "ENGINE_PORT", port)
    patch.setattr(settings, "ENGINE_ADDRESS", f"127.0.0.1:{port}")
    engine.control_client.cache_clear()
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "CONSTELLATION_BIND": address,
        "CONSTELLATION_ENGINE_PORT": str(port),
    }
    path = tmp_path_factory.mktemp("logs") / "log"
    with path.open("wb") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "manage.py", name],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for name in ("superlink", "superexec", "web")
        ]
        try:
            deadline = time.monotonic() + START_SECONDS
            while not all(ports.is_open("127.0.0.1", p) for p in (port, int(address.rpartition(":")[2]))):
                assert time.monotonic() < deadline, path.read_text()
                time.sleep(0.1)
            yield address
            sys.stderr.write(path.read_text()[-20_000:])
        finally:
            groups.end({process.pid for process in started}, patience=5)
            for process in started:
                process.wait(5)
    engine.control_client.cache_clear()
    patch.undo()


@pytest.fixture(autouse=True)
def _inside_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def tampering(change: Callable[[Arrays], None]) -> Tamper:
    def tamper(content: RecordDict) -> None:
        arrays = {name: array.copy() for name, array in weights.unpack(content["fit"]["weights"]).items()}
        change(arrays)
        content["fit"]["weights"] = weights.pack(arrays)

    return tamper


def claiming(examples: int) -> Tamper:
    def tamper(content: RecordDict) -> None:
        content["fit"]["examples"] = examples

    return tamper


def poison(arrays: Arrays) -> None:
    name = sorted(arrays)[0]
    arrays[name].reshape(-1)[3] = np.nan


def bias(arrays: Arrays) -> str:
    """A vector of ten: the last layer's bias."""
    return next(name for name, array in arrays.items() if array.shape == (10,))


def stretch(arrays: Arrays) -> None:
    arrays[bias(arrays)] = np.zeros(11, dtype=np.float32)


def shrink(arrays: Arrays) -> None:
    """What numpy would quietly broadcast."""
    arrays[bias(arrays)] = np.zeros(1, dtype=np.float32)


@pytest.fixture
def company(web: str, transactional_db: None) -> Iterator[Company]:
    made = Company(web)
    yield made
    made.close()


def test_registering_a_node_twice_gives_one_node_and_a_revoked_key_never_comes_back(company):
    key = public_pem(ec.generate_private_key(ec.SECP256R1()))
    first = control.register_node(key, "desk")
    assert control.register_node(key, "desk") == first
    control.unregister_node(first)
    control.unregister_node(first)
    with pytest.raises(Conflict):
        control.register_node(key, "desk")
    control.stop_run("12345")


def test_two_devices_train_a_job_through_the_gateway_with_node_authentication(company, monkeypatch):
    monkeypatch.setenv("CONSTELLATION_THREADS", "1")
    monkeypatch.setenv("CONSTELLATION_DEVICE", "cpu")
    for name in ("one", "two"):
        company.hire(name, worker=WorkerProcess)
    job = company.submit(rounds=2, participation={"quorum": 2})
    company.work(job)
    assert (job.status, job.reason) == ("completed", "All 2 rounds are done.")
    assert [(r.number, r.accepted, r.rejected) for r in job.rounds.order_by("number")] == [
        (1, 2, 0),
        (2, 2, 0),
    ]
    for round_number in (1, 2):
        parts = company.parts(job, round_number)
        assert {name: part.status for name, part in parts.items()} == dict.fromkeys(
            ("one", "two"), "accepted"
        )
        assert [part.attempts for part in parts.values()] == [1, 1]
        assert all(part.examples > 0 and part.bytes_up > 0 for part in parts.values())
    before, after = company.model(job, 0), company.model(job, 2)
    assert all(np.isfinite(array).all() for array in after.values())
    assert any((before[name] != after[name]).any() for name in before)


def test_devices_that_hand_in_nonsense_are_refused_with_a_reason_and_leave_no_trace(company):
    company.hire("honest")
    crooked = {
        "poisoner": (tampering(poison), "non-finite"),
        "stretcher": (tampering(stretch), "shape"),
        "shrinker": (tampering(shrink), "shape"),
        "idler": (claiming(0), "weight"),
        "braggart": (claiming(10**12), "weight"),
        "debtor": (claiming(-5), "weight"),
    }
    for name, (tamper, _) in crooked.items():
        company.hire(name, wrap=lambda link, tamper=tamper: CrookedLink(link, tamper))
    job = company.submit(rounds=1)
    company.work(job)
    assert job.status == "completed", job.reason
    parts = company.parts(job)
    assert {name: part.reason_code for name, part in parts.items()} == {
        "honest": "",
        **{name: code for name, (_, code) in crooked.items()},
    }
    assert all(
        part.status == Status.REJECTED and part.reason for name, part in parts.items() if name in crooked
    )
    row = job.rounds.get()
    assert (row.accepted, row.rejected, row.examples) == (1, len(crooked), 10)
    before, after = company.model(job, 0), company.model(job, 1)
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array + np.float32(0.001), atol=1e-7)


def test_a_device_that_dies_in_a_round_costs_the_round_its_patience_and_the_job_nothing(company):
    working = threading.Event()

    class Deaf(QuickWorker):
        def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
            if header["type"] == "prepare":
                super().send(header, payload)
            elif header["type"] == "train":
                working.set()

    company.hire("survivor")
    company.hire("victim", worker=Deaf)
    job = company.submit(rounds=2)
    company.work(job, until=working.is_set)
    company.cut_off("victim")
    began = time.monotonic()
    company.work(job)
    assert job.status == "completed", job.reason
    assert time.monotonic() - began < 40
    parts = company.parts(job)
    assert (parts["survivor"].status, parts["victim"].status) == (Status.ACCEPTED, Status.LOST)
    assert "away" in parts["victim"].reason
    assert [r.accepted for r in job.rounds.order_by("number")] == [1, 1]
    assert set(company.parts(job, 2)) == {"survivor"}


def test_a_device_that_claims_an_upload_which_never_came_holds_up_nobody_for_long(company):
    company.hire("honest")
    company.hire("liar", wrap=lambda link: CutOffLink(link, lambda content: None))
    job = company.submit(rounds=1, participation={"round_deadline_seconds": 20})
    company.work(job)
    assert job.status == "completed", job.reason
    parts = company.parts(job)
    assert (parts["honest"].status, parts["liar"].status) == (Status.ACCEPTED, Status.LOST)
    assert job.rounds.get().seconds < 20 + 3 * engine.PULL_SECONDS
