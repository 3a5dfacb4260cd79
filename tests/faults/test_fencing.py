"""A ServerApp that was away comes back after its successor started."""

import time

import psutil
import pytest

from tests.e2e.api import until
from tests.faults.cluster import patiently

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


def test_a_stale_serverapp_writes_nothing_over_its_successor(cluster, noted) -> None:
    stale: list[psutil.Process] = []

    def fault(job) -> float:
        at = time.time()
        stale.extend(cluster.platform.services("flwr-serverapp"))
        for process in stale:
            process.suspend()
        done = len(job.rounds())

        def successor_has_finished_a_round() -> bool:
            rows = patiently(job.rounds)
            return len(rows) > done and rows[-1]["run"] == 2

        until(successor_has_finished_a_round, "the successor has finished a round", 120)
        for process in stale:
            process.resume()
        return at

    outcome = cluster.with_fault("stale ServerApp", fault)
    noted("ServerApp stopped, later back", outcome)
    assert outcome.same_as_undisturbed() > len(outcome.rounds)
    assert {row["run"] for row in outcome.rounds} == {1, 2}
    until(lambda: not any(map(_runs, stale)), "the stale process has ended", 20)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
