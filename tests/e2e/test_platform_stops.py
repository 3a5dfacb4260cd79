"""However the platform ends, nothing of it stays."""

import signal
import time
from contextlib import suppress

import psutil
import pytest

from fl_server.platform import ports
from tests.e2e.api import RESEARCHER, WARMED_UP, Job, until
from tests.e2e.platform import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
GONE_SECONDS = {signal.SIGTERM: 25.0, signal.SIGKILL: 15.0}
FLOWER = {"fl_server.flower.superlink", "fl_server.flower.superexec", "flwr-serverapp"}
PROGRAMS = {"up", "web", "celery", *FLOWER}


@pytest.fixture(scope="module")
def job(platform: Platform) -> Job:
    alone = {"min_devices": 1, "max_devices": 1}
    return platform.login(RESEARCHER).job("Long", rounds=10_000, participation=alone)


@pytest.fixture
def busy(platform: Platform, job: Job) -> Platform:
    """Up, started again where it was stopped before, with a ServerApp at work."""
    assert platform.supervisor is not None
    if platform.supervisor.poll() is not None:
        platform.start()
    again = Job(platform.login(RESEARCHER), job.number)
    until(
        lambda: platform.services("flwr-serverapp") and again.parts(status="training"),
        "a round trains",
        WARMED_UP,
    )
    return platform


@pytest.mark.parametrize("number", GONE_SECONDS, ids=lambda number: number.name)
def test_nothing_is_left_and_everything_listened_on_the_loopback_only(
    busy: Platform, number: signal.Signals
) -> None:
    before = busy.processes()
    assert {name for name in PROGRAMS if busy.services(name)} == PROGRAMS
    assert {address for address, _ in listening(before)} == {"127.0.0.1"}
    assert {port for _, port in listening(before)} >= {busy.port, busy.engine_port}
    assert busy.supervisor is not None
    busy.supervisor.send_signal(number)
    status = busy.supervisor.wait(GONE_SECONDS[number])
    assert status == (0 if number == signal.SIGTERM else -number)
    deadline = time.monotonic() + (0.5 if number == signal.SIGTERM else GONE_SECONDS[number])
    while left := busy.processes():
        assert time.monotonic() < deadline, [process.cmdline() for process in left]
        time.sleep(0.1)
    assert not [process.cmdline() for process in before if lives(process)]
    assert not ports.is_open("127.0.0.1", busy.engine_port)
    assert not ports.is_open("127.0.0.1", busy.port)


def lives(process: psutil.Process) -> bool:
    """Zombies do not count: where init reaps nobody they stay."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def listening(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
