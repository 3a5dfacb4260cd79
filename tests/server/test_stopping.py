"""A job ends early when its target is reached or nothing improves any more, and at its deadline."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server.models import Checkpoint, JobEvent, Participation, Reservation, Run, TrainingJob
from fl_server.services import checkpoints, pausing, rounds, runs, scheduling, supervision
from fl_server.services.rounds import CheckpointFile, RoundReport
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status
LOSS = {"name": "loss", "direction": "minimize"}
ACCURACY = {"name": "accuracy", "direction": "maximize"}


def led(**changes: Any) -> Run:
    cluster.idle("desk")
    return cluster.led(cluster.queued(rounds=20, **changes))


def evaluated(run: Run, number: int, **metrics: float) -> None:
    now = timezone.now()
    file = CheckpointFile(f"{number}.safetensors", "a" * 64, 1)
    rounds.commit(run, RoundReport(number=number, started_at=now, finished_at=now), file, evaluate=False)
    checkpoints.evaluated(Checkpoint.objects.get(round_number=number), metrics)


def job_of(run: Run) -> TrainingJob:
    return TrainingJob.objects.get(pk=run.job_id)


@pytest.mark.parametrize(
    ("metric", "target", "short", "reached"),
    [(ACCURACY, 0.9, 0.89, 0.9), (ACCURACY, 0.9, 0.5, 0.95), (LOSS, 0.2, 0.21, 0.2), (LOSS, 0.2, 3.0, 0.1)],
)
def test_a_job_completes_early_when_its_metric_reaches_the_target(
    metric: dict[str, str], target: float, short: float, reached: float
) -> None:
    run = led(metric=metric, stopping={"target": target})
    evaluated(run, 1, **{metric["name"]: short})
    assert job_of(run).status == Status.RUNNING
    with cluster.heard() as heard:
        evaluated(run, 2, **{metric["name"]: reached})
    job = job_of(run)
    run.refresh_from_db()
    assert (job.status, job.reason_code) == (Status.COMPLETED, "target-reached")
    assert job.reason.startswith(f"Round 2 reached the target: {metric['name']}")
    assert (run.status, run.reason_code) == (Run.Status.COMPLETED, "target-reached")
    assert not Reservation.objects.filter(released_at__isnull=True).exists()
    assert [m["group"] for m in heard if m.get("type") == "cancel"] == [f"run-{run.pk}"]
    assert JobEvent.objects.filter(code="target-reached", status="completed").count() == 1


def test_the_round_under_way_is_abandoned() -> None:
    run = led(stopping={"target": 0.5})
    evaluated(run, 1, accuracy=0.4)
    rounds.begin(run, 2, [run.reservations.get().device])
    checkpoints.evaluated(Checkpoint.objects.get(round_number=1), {"accuracy": 0.6})
    assert Participation.objects.get().status == Participation.Status.LOST
    with pytest.raises(runs.Superseded):
        runs.extend_lease(run.pk, run.fence)


@pytest.mark.parametrize(
    ("metric", "values", "min_delta", "ends_after"),
    [
        (ACCURACY, [0.5, 0.6, 0.6, 0.59, 0.7], 0.0, 4),
        (ACCURACY, [0.5, 0.6, 0.61, 0.62, 0.9], 0.05, 4),
        (LOSS, [1.0, 0.9, 0.95, 0.9, 0.1], 0.0, 4),
        (LOSS, [1.0, 0.9, 0.8, 0.7, 0.6], 0.0, None),
        (ACCURACY, [0.5, 0.4, 0.6, 0.5, 0.7], 0.0, None),
    ],
)
def test_a_job_completes_early_when_nothing_improves_any_more(
    metric: dict[str, str], values: list[float], min_delta: float, ends_after: int | None
) -> None:
    run = led(metric=metric, stopping={"patience": 2, "min_delta": min_delta})
    for number, value in enumerate(values, 1):
        evaluated(run, number, **{metric["name"]: value})
        if job_of(run).status != Status.RUNNING:
            break
    if ends_after is None:
        assert job_of(run).status == Status.RUNNING
        return
    assert (number, job_of(run).status, job_of(run).reason_code) == (
        ends_after,
        "completed",
        "no-improvement",
    )
    assert job_of(run).reason == "2 evaluated rounds in a row were no better than round 2."


def test_without_a_rule_no_evaluation_ends_a_job() -> None:
    run = led()
    for number in range(1, 6):
        evaluated(run, number, accuracy=0.1)
    assert job_of(run).status == Status.RUNNING


def test_the_first_weights_reach_no_target() -> None:
    run = led(stopping={"target": 0.05})
    first = checkpoints.add_initial(run, CheckpointFile("0.safetensors", "a" * 64, 1), {})
    checkpoints.evaluated(first, {"accuracy": 0.1})
    assert job_of(run).status == Status.RUNNING


def test_a_job_that_has_paused_meanwhile_is_left_alone() -> None:
    run = led(stopping={"target": 0.5})
    evaluated(run, 1, accuracy=0.4)
    pausing.pause(run.job, cluster.researcher(), now=True)
    checkpoints.evaluated(Checkpoint.objects.get(round_number=1), {"accuracy": 0.9})
    assert job_of(run).status == Status.PAUSED


def overdue(run: Run) -> None:
    TrainingJob.objects.filter(pk=run.job_id).update(deadline_at=timezone.now() - timedelta(seconds=1))


def test_the_deadline_counts_from_the_first_start() -> None:
    before = timezone.now()
    run = led(stopping={"deadline_hours": 3})
    first = job_of(run).deadline_at
    assert first is not None
    assert timedelta(hours=3) <= first - before < timedelta(hours=3, minutes=1)
    runs.fail(run, "serverapp-lost", "gone")
    cluster.claimed(run.job)
    assert job_of(run).deadline_at == first


def test_past_its_deadline_a_running_job_fails_and_frees_its_devices() -> None:
    run = led(stopping={"deadline_hours": 3})
    supervision.end_overdue()
    supervision.check_runs()
    assert job_of(run).status == Status.RUNNING
    overdue(run)
    supervision.end_overdue()
    supervision.check_runs()
    run.refresh_from_db()
    job = job_of(run)
    assert (job.status, job.reason_code) == (Status.FAILED, "deadline")
    assert job.reason == "It was not done 3 hours after its first start."
    assert (run.status, run.reason_code) == (Run.Status.CANCELLED, "deadline")
    assert not Reservation.objects.filter(released_at__isnull=True).exists()


@pytest.mark.parametrize("waits", ["queue", "pause"])
def test_time_in_the_queue_and_in_a_pause_counts_too(waits: str) -> None:
    run = led(stopping={"deadline_hours": 3})
    if waits == "queue":
        runs.fail(run, "serverapp-lost", "gone")
    else:
        pausing.pause(run.job, cluster.researcher(), now=True)
    overdue(run)
    supervision.end_overdue()
    supervision.check_runs()
    assert (job_of(run).status, job_of(run).reason_code) == (Status.FAILED, "deadline")
    assert scheduling.claim_next() == []


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_job_says_itself_how_many_attempts_it_has(attempts: int) -> None:
    cluster.idle("desk")
    job = cluster.queued(stopping={"attempts": attempts})
    for attempt in range(1, attempts + 1):
        runs.fail(cluster.claimed(job), "serverapp-lost", "Gone.")
        job.refresh_from_db()
        assert job.status == ("failed" if attempt == attempts else "queued")
    assert ("attempt 2 of 2" in job.reason) == (attempts == 2)
