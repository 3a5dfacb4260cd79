from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server import spec
from fl_server.exceptions import Conflict
from fl_server.models import Participation, Reservation, Run, TrainingJob
from fl_server.selectors import runs as selectors
from fl_server.services import jobs, runs, scheduling, supervision
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

JobStatus = TrainingJob.Status
ATTEMPTS = spec.Stopping().attempts


def of(kind: str, heard: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in heard if kind in (message.get("type"), message.get("event"))]


def test_a_claim_is_a_run_with_its_devices_or_nothing() -> None:
    devices = cluster.idle_devices(2)
    job = cluster.queued()
    run = runs.claim(job, [(device, number) for number, device in enumerate(devices)], 2)
    assert (run.number, run.fence, run.first_round, run.status) == (1, 1, 1, Run.Status.PREPARING)
    assert [r.device for r in selectors.active_reservations(run)] == devices
    with pytest.raises(Conflict):
        runs.claim(job, [], 2)
    assert job.runs.count() == 1


def test_a_new_attempt_goes_on_after_the_last_committed_round() -> None:
    cluster.idle("desk")
    first = cluster.led()
    now = timezone.now()
    for number in (1, 2):
        first.rounds.create(job=first.job, number=number, started_at=now, finished_at=now)
    runs.fail(first, "serverapp-lost", "gone")
    second = cluster.claimed(first.job)
    assert (second.number, second.fence, second.first_round) == (2, 2, 3)


def test_each_reserved_device_is_told_its_own_partition() -> None:
    devices = cluster.idle_devices(2)
    run = cluster.claimed()
    with cluster.heard() as heard:
        for reservation in run.reservations.all():
            runs.announce(reservation)
    reserve = {message["group"]: message["assignment"] for message in of("reserve", heard)}
    assert set(reserve) == {f"device-{device.pk}" for device in devices}
    assert sorted(told["partition"]["index"] for told in reserve.values()) == [0, 1]
    assert all(
        (told["run"], told["fence"], told["job"]) == (run.pk, 1, run.job_id) for told in reserve.values()
    )
    assert {message["presence"] for message in of("device", heard)} == {"training"}


def test_the_client_understands_what_it_is_assigned() -> None:
    from fl_client import assignment

    cluster.idle("desk")
    reservation = selectors.active_reservations(cluster.claimed()).get()
    read = assignment.read(selectors.assignment(reservation))
    assert (read.model.name, read.partition.index, read.partition.count) == ("lenet", 0, 1)


def test_the_right_to_launch_a_run_is_taken_once() -> None:
    cluster.idle("desk")
    run = cluster.claimed()
    assert runs.launched(run)
    assert not runs.launched(Run.objects.get(pk=run.pk))


def test_preparation_deals_the_rows_and_tells_the_run() -> None:
    cluster.idle_devices(2)
    run = cluster.claimed()
    with cluster.heard() as heard:
        runs.prepared(run, [11, 22])
    assert list(run.reservations.order_by("partition").values_list("rows", flat=True)) == [11, 22]
    assert of("prepared", heard)
    run.refresh_from_db()
    assert run.prepared_at is not None


def test_only_the_run_with_the_right_fence_extends_its_lease() -> None:
    cluster.idle("desk")
    run = cluster.led()
    before = run.lease_until
    runs.extend_lease(run.pk, run.fence)
    run.refresh_from_db()
    assert run.lease_until > before
    with pytest.raises(runs.Superseded):
        runs.extend_lease(run.pk, run.fence + 1)
    runs.fail(run, "serverapp-lost", "gone")
    with pytest.raises(runs.Superseded):
        runs.extend_lease(run.pk, run.fence)


def test_a_complete_run_completes_its_job_and_frees_its_devices() -> None:
    device = cluster.idle("desk")
    run = cluster.led()
    with cluster.heard() as heard:
        runs.complete(run)
    job = TrainingJob.objects.get(pk=run.job_id)
    assert (run.status, job.status, job.reason) == ("completed", "completed", "All 5 rounds are done.")
    assert job.finished_at is not None
    assert not device.reservations.filter(released_at__isnull=True).exists()
    assert [message["run"] for message in of("release", heard)] == [run.pk]
    assert {message["status"] for message in of("job", heard)} == {"completed"}
    assert {message["presence"] for message in of("device", heard)} == {"idle"}


def test_a_run_that_ends_loses_the_work_in_hand() -> None:
    device = cluster.idle("desk")
    run = cluster.led()
    done = run.participations.create(device=device, round_number=1, status=Participation.Status.ACCEPTED)
    open_one = run.participations.create(device=device, round_number=2, status=Participation.Status.TRAINING)
    runs.complete(run)
    for part in (done, open_one):
        part.refresh_from_db()
    assert (done.status, open_one.status, open_one.reason_code) == ("accepted", "lost", "run-ended")


def test_a_superseded_run_cannot_complete_the_job_of_its_successor() -> None:
    cluster.idle("desk")
    late = cluster.led()
    runs.fail(Run.objects.get(pk=late.pk), "serverapp-lost", "gone")
    successor = cluster.led(late.job)
    with cluster.heard() as heard:
        runs.complete(late)
    assert TrainingJob.objects.get(pk=late.job_id).status == JobStatus.RUNNING
    assert Run.objects.get(pk=successor.pk).status == Run.Status.RUNNING
    assert heard == []


def test_a_run_that_completes_after_its_job_was_cancelled_tells_no_other_end() -> None:
    cluster.idle("desk")
    run = cluster.led()
    jobs.cancel(TrainingJob.objects.get(pk=run.job_id), cluster.researcher())
    with cluster.heard() as heard:
        runs.complete(run)
    assert TrainingJob.objects.get(pk=run.job_id).status == JobStatus.CANCELLED
    assert of("job", heard) == []
    assert len(of("release", heard)) == 1


@pytest.mark.parametrize("code", sorted(runs.RETRIED))
def test_a_passing_fault_puts_the_job_back_in_the_queue_until_the_last_attempt(code: str) -> None:
    cluster.idle("desk")
    job = cluster.queued()
    for attempt in range(1, ATTEMPTS + 1):
        run = cluster.claimed(job)
        assert run.number == attempt
        runs.fail(run, code, f"Attempt {attempt}.")
        job.refresh_from_db()
        assert job.status == (JobStatus.FAILED if attempt == ATTEMPTS else JobStatus.QUEUED)
    assert (job.reason_code, job.reason) == (
        code,
        f"Attempt {ATTEMPTS}. This was attempt {ATTEMPTS} of {ATTEMPTS} without a new round.",
    )
    assert not Reservation.objects.filter(released_at__isnull=True).exists()


def test_each_attempt_waits_longer_for_the_next() -> None:
    cluster.idle("desk")
    job = cluster.queued()
    pauses = []
    for _ in range(ATTEMPTS - 1):
        run = cluster.claimed(job)
        before = timezone.now()
        runs.fail(run, "serverapp-lost", "gone")
        job.refresh_from_db()
        assert job.not_before is not None
        pauses.append(round((job.not_before - before).total_seconds()))
    assert pauses == [2, 4, 8, 16]


def test_a_job_is_not_claimed_before_its_pause_is_over() -> None:
    cluster.idle("desk")
    run = cluster.claimed()
    runs.fail(run, "serverapp-lost", "gone")
    assert scheduling.claim_next() == []
    TrainingJob.objects.update(not_before=timezone.now())
    assert [again.number for again in scheduling.claim_next()] == [2]
    assert TrainingJob.objects.get().not_before is None


def test_only_attempts_without_a_new_round_count() -> None:
    cluster.idle("desk")
    job = cluster.queued(rounds=2 * ATTEMPTS)
    now = timezone.now()
    for number in range(1, 2 * ATTEMPTS):
        run = cluster.claimed(job)
        run.rounds.create(job=job, number=number, started_at=now, finished_at=now)
        runs.fail(run, "serverapp-lost", "gone")
        job.refresh_from_db()
        assert job.status == JobStatus.QUEUED
        assert (job.not_before - timezone.now()).total_seconds() < 2.0


def test_a_job_whose_rounds_are_all_there_is_done_however_its_last_run_ended() -> None:
    cluster.idle("desk")
    job = cluster.queued(rounds=1, stopping={"attempts": 1})
    run, now = cluster.led(job), timezone.now()
    run.rounds.create(job=job, number=1, started_at=now, finished_at=now)
    runs.fail(run, "serverapp-lost", "gone")
    job.refresh_from_db()
    assert (job.status, job.reason_code) == (JobStatus.COMPLETED, "completed")


def test_a_device_is_taken_out_of_the_run_that_gives_it_back_and_of_no_other() -> None:
    desk = cluster.idle("desk")
    first = cluster.led()
    runs.fail(first, "error", "gone")
    second = cluster.led(cluster.queued("Next"))
    runs.release_device(desk, first)
    assert second.reservations.filter(released_at__isnull=True).exists()
    runs.release_device(desk, second)
    assert not second.reservations.filter(released_at__isnull=True).exists()


def test_a_launch_that_nobody_finished_is_begun_again() -> None:
    cluster.idle("desk")
    run = cluster.claimed()
    assert runs.launched(run)
    supervision.check_runs()
    run.refresh_from_db()
    assert run.status == Run.Status.LAUNCHED
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    supervision.check_runs()
    run.refresh_from_db()
    assert run.status == Run.Status.PREPARING


def test_why_a_round_got_too_few_replies_is_told_for_each_device() -> None:
    desk, lab, home = (cluster.idle(name) for name in ("desk", "lab", "home"))
    run = cluster.led(cluster.queued())
    run.reservations.filter(device=desk).update(problem="its disk is full.")
    settled = Participation.Status
    for device, status, reason in (
        (desk, settled.LOST, "It went away."),
        (lab, settled.REJECTED, "Its weights are not finite."),
        (home, settled.ACCEPTED, ""),
    ):
        run.participations.create(device=device, round_number=4, status=status, reason=reason)
    assert selectors.problems(run, 4) == ["desk: its disk is full.", "lab: Its weights are not finite."]


def test_any_other_fault_fails_the_job_at_once() -> None:
    cluster.idle("desk")
    run = cluster.led()
    runs.fail(run, "diverged", "Not finite.", "a traceback")
    run.refresh_from_db()
    job = TrainingJob.objects.get(pk=run.job_id)
    assert (run.status, run.traceback, job.status, job.reason_code) == (
        "failed",
        "a traceback",
        "failed",
        "diverged",
    )


def test_a_run_fails_once() -> None:
    cluster.idle("desk")
    run = cluster.led()
    runs.fail(Run.objects.get(pk=run.pk), "serverapp-lost", "first")
    with cluster.heard() as heard:
        runs.fail(run, "diverged", "second")
    assert heard == []
    assert TrainingJob.objects.get(pk=run.job_id).reason == "first"


def test_a_job_that_runs_again_no_longer_shows_why_the_last_attempt_ended() -> None:
    cluster.idle("desk")
    run = cluster.led()
    runs.fail(run, "serverapp-lost", "gone")
    again = cluster.claimed(TrainingJob.objects.get(pk=run.job_id))
    job = TrainingJob.objects.get(pk=again.job_id)
    assert (job.status, job.reason_code, job.reason) == (JobStatus.RUNNING, "", "")


def test_a_device_taken_out_is_released_and_its_run_is_told() -> None:
    one, other = cluster.idle_devices(2)
    run = cluster.led()
    with cluster.heard() as heard:
        runs.release_device(one)
    assert [r.device for r in selectors.active_reservations(run)] == [other]
    (gone,) = of("gone", heard)
    assert (gone["group"], gone["node"], gone["final"]) == (f"run-{run.pk}", one.node_id, True)
    assert selectors.active_reservation(one) is None
    assert selectors.active_reservation(other) is not None
