"""A client dies at the worst moments and comes back, and its network breaks."""

import time

import pytest

from tests.e2e.api import ADMIN, until
from tests.faults.cluster import DESKS
from tests.faults.wire import DOWN, UP

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
ONE, TWO = DESKS[:2]
PART = 64 * 1024  # bytes; the model has about 180 KB


@pytest.mark.parametrize("way", [DOWN, UP], ids=["download", "upload"])
def test_a_client_killed_in_the_middle_of_a_transfer_takes_part_again(cluster, noted, way) -> None:
    wire = cluster.wires[ONE]

    def fault(_) -> float:
        wire.hold(way, PART)
        assert wire.trapped.wait(60)
        cluster.desk(ONE).kill()
        at = time.time()
        wire.release()
        cluster.start(ONE)
        return at

    outcome = cluster.with_fault(f"client in {way}load", fault)
    noted(f"client, mid-{way}load", outcome)
    assert outcome.same_as_undisturbed() > len(outcome.rounds)


def test_a_client_killed_while_it_trains_takes_part_again(cluster, noted) -> None:
    def fault(job) -> float:
        until(lambda: job.trained_by(TWO), f"{TWO} trains", 60)
        cluster.desk(TWO).kill()
        at = time.time()
        cluster.start(TWO)
        return at

    outcome = cluster.with_fault("client in training", fault)
    noted("client, mid-training", outcome)
    assert outcome.same_as_undisturbed() > len(outcome.rounds)


def test_a_cut_network_that_heals_costs_time_and_nothing_else(cluster, noted) -> None:
    wire = cluster.wires[ONE]

    def fault(_) -> float:
        at = time.time()
        wire.cut()
        time.sleep(8)
        wire.heal()
        return at

    outcome = cluster.with_fault("network cut", fault)
    noted("network cut for 8 s", outcome)
    assert outcome.same_as_undisturbed() > len(outcome.rounds)
    names = [row["name"] for row in cluster.person(ADMIN).rows("devices")]
    assert len(names) == len(set(names)) == len(DESKS)


@pytest.mark.parametrize("count", [2, 3], ids=["a-third", "half"])
def test_the_rest_goes_on_when_machines_leave_for_good(cluster, noted, count) -> None:
    leaving = DESKS[:count]

    def fault(_) -> None:
        for name in leaving:
            cluster.desk(name).kill()

    outcome = cluster.with_fault(f"{count} of {len(DESKS)} machines leave", fault)
    noted(f"{count} of {len(DESKS)} devices leave", outcome)
    assert outcome.accepted(len(outcome.rounds)) == set(DESKS) - set(leaving)
