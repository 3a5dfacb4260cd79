"""However the platform ends, nothing of it stays."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from fl_server.platform import ports
from tests.e2e.api import RESEARCHER, WARMED_UP, until
from tests.e2e.platform import Platform, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
GONE_SECONDS = {signal.SIGTERM: 25.0, signal.SIGKILL: 15.0}
PROGRAMS = {"up", "web", "celery", "fl_server.flower.superlink", "flower-superexec", "flwr-serverapp"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("stops"), "desk-1", CONSTELLATION_LEASE_SECONDS="6") as made:
        alone = {"min_devices": 1, "max_devices": 1}
        made.login(RESEARCHER).job("Long", rounds=10_000, participation=alone)
        yield made


def leads_a_run(platform: Platform) -> Platform:
    """Up, started again where it was stopped before, with a ServerApp at work."""
    assert platform.supervisor is not None
    if platform.supervisor.poll() is not None:
        platform.start()
    until(lambda: platform.services("flwr-serverapp"), "the job runs", WARMED_UP)
    return platform


@pytest.mark.parametrize("number", GONE_SECONDS, ids=lambda number: number.name)
def test_nothing_is_left_and_everything_listened_on_the_loopback_only(
    platform: Platform, number: signal.Signals
) -> None:
    before = leads_a_run(platform).processes()
    assert {name for name in PROGRAMS if platform.services(name)} == PROGRAMS
    assert {address for address, _ in listening(before)} == {"127.0.0.1"}
    assert {port for _, port in listening(before)} >= {platform.port, platform.engine_port}
    assert platform.supervisor is not None
    platform.supervisor.send_signal(number)
    status = platform.supervisor.wait(GONE_SECONDS[number])
    assert status == (0 if number == signal.SIGTERM else -number)
    deadline = time.monotonic() + (0.5 if number == signal.SIGTERM else GONE_SECONDS[number])
    while left := platform.processes():
        assert time.monotonic() < deadline, [process.cmdline() for process in left]
        time.sleep(0.1)
    assert not [process.cmdline() for process in before if lives(process)]
    assert not ports.is_open("127.0.0.1", platform.engine_port)
    assert not ports.is_open("127.0.0.1", platform.port)


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
