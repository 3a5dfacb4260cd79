"""What a run that goes on knows of the updates before it."""

import pytest

from fl_server.models import Participation, Run
from fl_server.selectors import runs as selectors
from fl_server.services import participations, runs
from tests.server import cluster, world

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = Participation.Status


def answered(run: Run, number: int, *norms: float | None, status: str = Status.ACCEPTED) -> None:
    devices = [reservation.device for reservation in run.reservations.order_by("partition")]
    participations.open_round(run, number, devices)
    for device, norm in zip(devices, norms, strict=False):
        participations.settle(run, number, device, status, update_norm=norm)


def successor(run: Run) -> Run:
    runs.fail(run, "serverapp-lost", "It was killed.")
    return cluster.led(run.job)


@pytest.fixture
def run() -> Run:
    cluster.idle_devices(3)
    return cluster.led(cluster.queued(rounds=50))


def test_accepted_norms_of_committed_rounds_are_remembered(run: Run) -> None:
    answered(run, 1, 1.0, 2.0, None)
    answered(run, 2, 3.0)
    for number in (1, 2):
        world.committed(run, number, {})
    answered(run, 3, 9.0)  # its round was never committed, and is trained again
    then = successor(run)
    assert then.first_round == 3
    assert selectors.past_norms(then, 10) == [(1, 1.0), (1, 2.0), (2, 3.0)]


def test_what_was_rejected_is_not_remembered(run: Run) -> None:
    answered(run, 1, 100.0, status=Status.REJECTED)
    world.committed(run, 1, {})
    assert selectors.past_norms(successor(run), 10) == []


def test_a_round_that_two_runs_trained_counts_once(run: Run) -> None:
    answered(run, 1, 1.0)
    then = successor(run)
    answered(then, 1, 5.0)
    world.committed(then, 1, {})
    assert selectors.past_norms(successor(then), 10) == [(1, 5.0)]


def test_only_the_last_rounds_are_remembered(run: Run) -> None:
    for number in range(1, 8):
        answered(run, number, float(number))
        world.committed(run, number, {})
    assert selectors.past_norms(successor(run), 3) == [(5, 5.0), (6, 6.0), (7, 7.0)]
