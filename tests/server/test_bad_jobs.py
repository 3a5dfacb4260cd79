"""Jobs that can come to nothing end with their reason, free their devices, and delay nobody."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server.models import JobEvent, Participation, Reservation, Run, TrainingJob
from fl_server.selectors import runs as selectors
from fl_server.services import participations, rounds, runs, scheduling, substitution
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status
ATTEMPTS = 3
BAD = {"stopping": {"attempts": ATTEMPTS}, "participation": {"min_devices": 2, "max_devices": 2}}


@pytest.fixture(autouse=True)
def devices() -> list[Any]:
    return cluster.idle_devices(2)


def too_few(run: Run) -> None:
    """How a leader ends a round that got too few answers."""
    why = selectors.problems(run, run.first_round)
    runs.fail(
        run, "too-few-replies", " ".join(["Round 1 needs the work of 1 device and got that of none.", *why])
    )


def held() -> int:
    return Reservation.objects.filter(released_at__isnull=True).count()


def let_pause_pass() -> None:
    TrainingJob.objects.update(not_before=timezone.now() - timedelta(seconds=1))


def attempts_of(job: TrainingJob, end: Any) -> TrainingJob:
    for attempt in range(1, ATTEMPTS + 1):
        let_pause_pass()
        run = cluster.led(job)
        runs.prepared(run, [10, 10])
        end(run)
        job.refresh_from_db()
        assert held() == 0
        assert job.status == (Status.FAILED if attempt == ATTEMPTS else Status.QUEUED)
    return job


def test_one_that_raises_on_every_device_names_the_fault_of_each(devices: list[Any]) -> None:
    def raises_everywhere(run: Run) -> None:
        for device in devices:
            participations.failed(device, run.pk, None, "worker-died", "ValueError: bad shape")
        assert substitution.replace_lost() == []
        assert held() == 0
        too_few(run)

    job = attempts_of(cluster.queued(**BAD), raises_everywhere)
    assert job.reason_code == "too-few-replies"
    assert "desk-1, desk-2: worker-died: ValueError: bad shape. This was attempt" in job.reason
    assert f"attempt {ATTEMPTS} of {ATTEMPTS}" in job.reason


def test_one_that_no_device_ever_answers_ends_after_its_attempts(devices: list[Any]) -> None:
    def never_answers(run: Run) -> None:
        rounds.begin(run, 1, devices)
        for device in devices:
            reason = "It did not answer within 600 s."
            participations.settle(run, 1, device, "lost", reason_code="lost", reason=reason)
        too_few(run)

    job = attempts_of(cluster.queued(**BAD), never_answers)
    assert job.reason_code == "too-few-replies"
    assert "did not answer within 600 s" in job.reason
    assert [event.code for event in JobEvent.objects.filter(job=job, status="queued")] == [
        "too-few-replies"
    ] * (ATTEMPTS - 1)


def test_one_that_diverges_is_not_tried_again() -> None:
    run = cluster.led(cluster.queued(**BAD))
    runs.fail(run, "diverged", "The model was no longer finite after round 1.")
    job = TrainingJob.objects.get()
    assert (job.status, job.reason_code, held(), job.runs.count()) == (Status.FAILED, "diverged", 0, 1)


def test_it_is_known_when_every_device_says_that_its_training_diverged() -> None:
    run = cluster.led(cluster.queued(**BAD))
    lent = [one.device for one in run.reservations.select_related("device")]
    participations.open_round(run, 1, lent)
    assert not selectors.diverged_on_devices(run, 1)
    for device in lent:
        why = {"reason_code": "client-error", "reason": "diverged: The loss is nan."}
        participations.settle(run, 1, device, Participation.Status.REJECTED, **why)
    assert selectors.diverged_on_devices(run, 1)
    Participation.objects.filter(device=lent[0]).update(reason="worker-died: killed")
    assert not selectors.diverged_on_devices(run, 1)


def test_the_next_job_starts_while_a_bad_one_waits_for_its_next_attempt() -> None:
    bad = cluster.queued("Bad", age=60, priority=50, **BAD)
    good = cluster.queued("Good")
    run = cluster.led(bad)
    assert good.runs.count() == 0
    too_few(run)
    assert [claimed.job for claimed in scheduling.claim_next()] == [good]


def test_attempts_that_fail_quickly_come_ever_more_slowly() -> None:
    job = cluster.queued(**BAD)
    pauses = []
    for _ in range(ATTEMPTS - 1):
        let_pause_pass()
        before = timezone.now()
        too_few(cluster.led(job))
        job.refresh_from_db()
        pauses.append(round((job.not_before - before).total_seconds()))
    assert pauses == [2, 4]
