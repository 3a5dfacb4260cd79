from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from fl_server import spec, tasks
from fl_server.models import Checkpoint, Device, Reservation, Round, Run, TrainingJob
from fl_server.platform import engine, exits
from fl_server.services import checkpoints, devices, jobs, participations, rounds, runs, supervision
from tests.server import cluster, world

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = Run.Status
ATTEMPTS = spec.Stopping().attempts


def job_of(run: Run) -> TrainingJob:
    return TrainingJob.objects.get(pk=run.job_id)


def created_ago(run: Run, seconds: float) -> None:
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(seconds=seconds))


def test_a_run_that_keeps_its_lease_is_left_alone() -> None:
    cluster.idle("desk")
    run = cluster.led()
    supervision.check_runs()
    run.refresh_from_db()
    assert run.status == Status.RUNNING


def test_a_run_that_lost_its_lease_is_started_again_and_at_last_fails() -> None:
    device = cluster.idle("desk")
    job = cluster.queued()
    for attempt in range(1, ATTEMPTS + 1):
        run = cluster.led(job)
        cluster.let_lease_lapse(run)
        supervision.check_runs()
        run.refresh_from_db()
        job.refresh_from_db()
        assert (run.number, run.status, run.reason_code) == (attempt, Status.FAILED, "serverapp-lost")
        assert job.status == ("failed" if attempt == ATTEMPTS else "queued")
        assert not device.reservations.filter(released_at__isnull=True).exists()
    assert job.reason.startswith(
        "The process that led the run gave no sign of life for 20 s. This was attempt 5"
    )


@pytest.mark.parametrize(
    ("began", "code"), [(False, "engine-stopped"), (True, "serverapp-lost")], ids=["before", "after"]
)
def test_a_process_that_is_known_to_be_gone_ends_its_run_at_once(
    settings: Any, tmp_path: Path, began: bool, code: str
) -> None:
    settings.CONSTELLATION_HOME = tmp_path
    cluster.idle("desk")
    run = cluster.claimed()
    runs.launched(run)
    runs.attach_engine(run, 2**63 + 5)
    if began:
        runs.start(run)
    exits.note(engine.folder(), "77")
    supervision.check_runs()
    run.refresh_from_db()
    assert run.status in Run.ACTIVE
    exits.note(engine.folder(), str(2**63 + 5))
    supervision.check_runs()
    run.refresh_from_db()
    assert (run.status, run.reason_code, job_of(run).status) == (Status.FAILED, code, "queued")
    assert not Reservation.objects.filter(released_at__isnull=True).exists()


def test_a_process_that_ended_after_its_work_was_done_is_no_fault(settings: Any, tmp_path: Path) -> None:
    settings.CONSTELLATION_HOME = tmp_path
    cluster.idle("desk")
    run = cluster.led()
    runs.attach_engine(run, 7)
    exits.note(engine.folder(), "7")
    runs.complete(run)
    supervision.check_runs()
    run.refresh_from_db()
    assert (run.status, job_of(run).status) == (Status.COMPLETED, "completed")


def test_the_run_of_a_cancelled_job_is_cancelled_and_its_devices_are_free() -> None:
    cluster.idle_devices(2)
    run = cluster.led()
    jobs.cancel(job_of(run), cluster.researcher())
    with cluster.heard() as heard:
        supervision.check_runs()
    run.refresh_from_db()
    assert (run.status, run.reason) == (Status.CANCELLED, "Cancelled by rosa.")
    assert job_of(run).status == TrainingJob.Status.CANCELLED
    assert not Reservation.objects.filter(released_at__isnull=True).exists()
    assert len([message for message in heard if message.get("type") == "release"]) == 2
    assert [message["group"] for message in heard if message.get("type") == "cancel"] == [f"run-{run.pk}"]


def test_a_lease_that_is_extended_while_lost_ones_are_ended_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.idle("desk")
    run = cluster.led()
    cluster.let_lease_lapse(run)
    fail = runs.fail

    def meanwhile(*args: Any, **options: Any) -> None:
        runs.extend_lease(run.pk, run.fence)
        fail(*args, **options)

    monkeypatch.setattr(runs, "fail", meanwhile)
    supervision.check_runs()
    run.refresh_from_db()
    assert run.status == Status.RUNNING


def test_a_run_that_starts_while_late_ones_are_ended_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.idle("desk")
    run = cluster.claimed()
    runs.launched(run)
    created_ago(run, 121)
    fail = runs.fail

    def meanwhile(*args: Any, **options: Any) -> None:
        runs.start(run)
        fail(*args, **options)

    monkeypatch.setattr(runs, "fail", meanwhile)
    supervision.check_runs()
    run.refresh_from_db()
    assert run.status == Status.RUNNING


@pytest.mark.parametrize("launched", [False, True])
def test_a_run_that_does_not_start_in_time_is_tried_again(launched: bool) -> None:
    cluster.idle("desk")
    run = cluster.claimed()
    if launched:
        runs.launched(run)
    created_ago(run, 119)
    supervision.check_runs()
    run.refresh_from_db()
    assert run.status in Run.ACTIVE
    created_ago(run, 121)
    supervision.check_runs()
    run.refresh_from_db()
    assert (run.status, run.reason_code, job_of(run).status) == (Status.FAILED, "launch-timeout", "queued")


def test_a_run_that_started_late_is_not_ended_for_it() -> None:
    cluster.idle("desk")
    run = cluster.led()
    created_ago(run, 3600)
    supervision.check_runs()
    run.refresh_from_db()
    assert run.status == Status.RUNNING


def test_checking_twice_changes_nothing_more() -> None:
    cluster.idle("desk")
    run = cluster.led()
    cluster.let_lease_lapse(run)
    supervision.check_runs()
    with cluster.heard() as heard:
        supervision.check_runs()
    assert heard == []
    assert job_of(run).status == TrainingJob.Status.QUEUED


def test_a_run_whose_preparation_got_lost_is_found_after_ten_seconds() -> None:
    cluster.idle("desk")
    run = cluster.claimed()
    assert not supervision.unprepared().exists()
    created_ago(run, 11)
    assert list(supervision.unprepared()) == [run]
    runs.prepared(run, [1])
    assert not supervision.unprepared().exists()


def test_a_launch_that_got_lost_is_found_after_two_seconds() -> None:
    cluster.idle("desk")
    run = cluster.claimed()
    assert not supervision.unlaunched().exists()
    created_ago(run, 3)
    assert list(supervision.unlaunched()) == [run]
    runs.launched(run)
    assert not supervision.unlaunched().exists()


def test_a_reservation_that_a_device_never_heard_of_is_found_until_it_is_ready() -> None:
    device = cluster.idle("desk")
    run = cluster.claimed()
    assert not supervision.unready().exists()
    run.reservations.update(reserved_at=timezone.now() - timedelta(seconds=11))
    assert [found.device for found in supervision.unready()] == [device]
    participations.ready(device, run.pk, run.fence)
    assert not supervision.unready().exists()


def commit(run: Run, number: int) -> Checkpoint:
    report = rounds.RoundReport(number=number, started_at=timezone.now(), finished_at=timezone.now())
    rounds.commit(run, report, rounds.CheckpointFile(f"{number}", "0" * 64, 1), evaluate=False)
    return Checkpoint.objects.get(run=run, round_number=number)


def test_every_round_whose_evaluation_got_lost_is_found() -> None:
    cluster.idle("desk")
    run = cluster.led()
    first, second = commit(run, 1), commit(run, 2)
    assert supervision.unevaluated() == []
    Round.objects.update(finished_at=timezone.now() - timedelta(seconds=11))
    assert supervision.unevaluated() == [first, second]
    checkpoints.evaluated(first, {"loss": 1.0, "accuracy": 0.5})
    runs.complete(run)
    assert supervision.unevaluated() == [second]
    checkpoints.evaluated(second, {"loss": 1.0, "accuracy": 0.5})
    assert supervision.unevaluated() == []


def test_of_a_job_that_tests_its_last_round_only_that_one_is_found() -> None:
    cluster.idle("desk")
    run = cluster.led(cluster.queued(evaluation="last-round"))
    _, second = commit(run, 1), commit(run, 2)
    Round.objects.update(finished_at=timezone.now() - timedelta(seconds=11))
    assert supervision.unevaluated() == []
    runs.complete(run)
    assert supervision.unevaluated() == [second]


def test_a_paused_job_is_past_its_deadline_also_while_nothing_runs() -> None:
    job = cluster.queued(stopping={"deadline_hours": 1})
    past = timezone.now() - timedelta(minutes=1)
    TrainingJob.objects.update(status=TrainingJob.Status.PAUSED, deadline_at=past)
    assert not supervision.anything_runs()
    tasks.tick()
    job.refresh_from_db()
    assert (job.status, job.reason_code) == ("failed", "deadline")


def test_the_engine_is_told_of_new_devices_revoked_devices_and_ended_runs() -> None:
    assert not supervision.engine_is_behind()
    newcomer = cluster.idle("new", node_id="")
    assert list(supervision.unregistered()) == [newcomer]
    devices.registered(newcomer, "77")
    assert not supervision.engine_is_behind()

    run = cluster.led()
    runs.attach_engine(run, 2**63 + 5)
    runs.complete(run)
    assert [ended.engine_run_id for ended in supervision.unstopped()] == [str(2**63 + 5)]
    runs.engine_stopped(run)
    assert not supervision.engine_is_behind()

    devices.revoke(Device.objects.get(pk=newcomer.pk), world.person("ada", "admin"), "sold")
    assert list(supervision.still_registered()) == [newcomer]
    devices.unregistered(newcomer)
    assert not supervision.engine_is_behind()
