import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from fl_server import lifecycle
from fl_server.exceptions import Conflict
from fl_server.models import Device, Participation, Reservation, Run, TrainingJob
from fl_server.services import runs
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status
THREADS = 8


def race(action: Callable[[int], bool]) -> list[bool]:
    """What each of eight threads got that did the same at the same moment."""
    gate = threading.Barrier(THREADS)

    def attempt(number: int) -> bool:
        try:
            gate.wait(10)
            return action(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(attempt, range(THREADS)))


@pytest.mark.django_db(transaction=True)
def test_of_eight_threads_that_race_for_a_row_exactly_one_wins() -> None:
    job = cluster.queued()

    def take(number: int) -> bool:
        mine = TrainingJob.objects.get(pk=job.pk)
        return lifecycle.try_advance(mine, Status.RUNNING, reason=f"taken by {number}")

    got = race(take)
    assert got.count(True) == 1
    job.refresh_from_db()
    assert (job.status, job.reason) == (Status.RUNNING, f"taken by {got.index(True)}")


@pytest.mark.django_db(transaction=True)
def test_of_eight_threads_that_claim_a_job_exactly_one_gets_it_and_its_devices() -> None:
    job = cluster.queued()
    devices = cluster.idle_devices(3)

    def claim(_: int) -> bool:
        mine = TrainingJob.objects.get(pk=job.pk)
        try:
            runs.claim(mine, [(device, number) for number, device in enumerate(devices)], 3)
        except Conflict:
            return False
        return True

    assert race(claim).count(True) == 1
    assert Run.objects.filter(job=job).count() == 1
    assert Reservation.objects.count() == 3


def test_a_change_carries_its_fields_in_the_same_write() -> None:
    job = cluster.queued()
    assert lifecycle.advance(job, Status.FAILED, reason_code="x", reason="Because.") is job
    assert (job.status, job.reason_code) == (Status.FAILED, "x")
    job.refresh_from_db()
    assert (job.status, job.reason_code, job.reason) == (Status.FAILED, "x", "Because.")


def test_what_an_object_remembers_does_not_decide() -> None:
    job = cluster.queued()
    stale = TrainingJob.objects.get(pk=job.pk)
    lifecycle.advance(job, Status.CANCELLED)
    assert not lifecycle.try_advance(stale, Status.RUNNING, reason="late")
    assert (stale.status, stale.reason) == (Status.QUEUED, "")
    with pytest.raises(Conflict, match=r"is cancelled and cannot become running; .* nothing, it has ended"):
        lifecycle.advance(stale, Status.RUNNING)
    assert stale.status == Status.CANCELLED


def test_a_conflict_says_what_is_possible() -> None:
    job = cluster.queued()
    with pytest.raises(
        Conflict, match=r"is queued and cannot become completed.*cancelled, failed, paused, running"
    ):
        lifecycle.advance(job, Status.COMPLETED)


@pytest.mark.parametrize("model", [TrainingJob, Run, Device, Participation])
def test_every_status_is_reachable_or_a_beginning_and_every_end_is_final(model: type) -> None:
    statuses = set(model.Status)
    reached = {to for targets in model.TRANSITIONS.values() for to in targets}
    beginnings = {model._meta.get_field("status").default}
    assert statuses == reached | beginnings
    assert set(model.TRANSITIONS) <= statuses
    terminal = getattr(model, "TERMINAL", None)
    if terminal is not None:
        assert terminal == statuses - set(model.TRANSITIONS)
    assert set(lifecycle.sources(model, next(iter(beginnings)))) <= set(model.TRANSITIONS)
