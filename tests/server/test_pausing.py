"""A job that is paused holds no device, loses at most the round under way, and goes on where it was."""

from typing import Any

import pytest
from django.utils import timezone

from fl_server import roles
from fl_server.exceptions import Conflict, NotAllowed
from fl_server.models import AuditEvent, JobEvent, Participation, Reservation, Round, Run, TrainingJob
from fl_server.services import jobs, participations, pausing, rounds, runs, scheduling, supervision
from fl_server.services.rounds import CheckpointFile, RoundReport
from tests.server import cluster, world

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status


def job_of(run: Run) -> TrainingJob:
    return TrainingJob.objects.get(pk=run.job_id)


def commit(run: Run, number: int) -> Round:
    now = timezone.now()
    file = CheckpointFile(f"{number}.safetensors", "a" * 64, 1)
    return rounds.commit(
        run, RoundReport(number=number, started_at=now, finished_at=now), file, evaluate=False
    )


def held() -> int:
    return Reservation.objects.filter(released_at__isnull=True).count()


@pytest.fixture
def led() -> Run:
    cluster.idle_devices(2)
    return cluster.led()


def test_a_queued_job_pauses_at_once_and_is_not_claimed() -> None:
    cluster.idle("desk")
    job = cluster.queued()
    pausing.pause(job, cluster.researcher())
    job.refresh_from_db()
    assert (job.status, job.reason_code, job.reason) == (Status.PAUSED, "paused", "Paused by rosa.")
    assert job.phase == "paused"
    assert scheduling.claim_next() == []


@pytest.mark.parametrize("launched", [False, True])
def test_a_run_that_has_not_begun_is_given_up_at_once(launched: bool) -> None:
    cluster.idle_devices(2)
    run = cluster.claimed()
    if launched:
        runs.launched(run)
    pausing.pause(run.job, cluster.researcher())
    run.refresh_from_db()
    assert (run.status, run.reason_code, job_of(run).status, held()) == ("cancelled", "paused", "paused", 0)
    with pytest.raises(Conflict):
        runs.start(run)


def test_a_running_job_finishes_its_round_first(led: Run) -> None:
    with cluster.heard() as heard:
        pausing.pause(led.job, cluster.researcher())
    assert (job_of(led).status, job_of(led).pausing, held()) == (Status.RUNNING, True, 2)
    assert [message["event"] for message in heard if message["group"] == "jobs"] == ["job"]
    with cluster.heard() as heard:
        commit(led, 1)
    led.refresh_from_db()
    job = job_of(led)
    assert (led.status, led.reason_code) == (Run.Status.CANCELLED, "paused")
    assert (job.status, job.pausing, job.reason, held()) == (Status.PAUSED, False, "Paused after round 1.", 0)
    assert Round.objects.get().number == 1
    assert [m["group"] for m in heard if m.get("type") == "cancel"] == [f"run-{led.pk}"]
    assert len([m for m in heard if m.get("type") == "release"]) == 2


def test_its_leader_begins_no_round_after_that(led: Run) -> None:
    pausing.pause(led.job, cluster.researcher())
    commit(led, 1)
    with pytest.raises(runs.Superseded):
        rounds.begin(led, 2, [])
    assert not Participation.objects.exists()


def test_a_repeated_commit_of_the_round_it_paused_after_does_no_harm(led: Run) -> None:
    """Its answer may have been lost; then the leader hears that its run is over."""
    pausing.pause(led.job, cluster.researcher())
    commit(led, 1)
    with pytest.raises(runs.Superseded):
        commit(led, 1)
    assert (Round.objects.count(), job_of(led).status) == (1, Status.PAUSED)


def test_now_abandons_the_round_under_way(led: Run) -> None:
    device = led.reservations.first().device
    rounds.begin(led, 1, [device])
    participations.progress(device, led.pk, 1, "training")
    pausing.pause(led.job, cluster.researcher(), now=True)
    assert (job_of(led).status, held(), Round.objects.count()) == (Status.PAUSED, 0, 0)
    part = Participation.objects.get()
    assert (part.status, part.reason_code) == (Participation.Status.LOST, "run-ended")
    with pytest.raises(runs.Superseded):
        commit(led, 1)


def test_the_last_round_completes_the_job_although_it_was_to_pause(led: Run) -> None:
    for number in (1, 2, 3, 4):
        commit(led, number)
    pausing.pause(led.job, cluster.researcher())
    commit(led, 5)
    runs.complete(led)
    assert (job_of(led).status, job_of(led).pausing) == (Status.COMPLETED, False)


def test_a_run_that_fails_before_its_round_is_done_pauses_the_job_too(led: Run) -> None:
    pausing.pause(led.job, cluster.researcher())
    runs.fail(led, "serverapp-lost", "It was killed.")
    job = job_of(led)
    assert (job.status, job.pausing, job.reason) == (Status.PAUSED, False, "It was killed.")


def test_a_resumed_job_gets_a_new_run_at_the_next_round(led: Run) -> None:
    pausing.pause(led.job, cluster.researcher())
    commit(led, 1)
    job = pausing.resume(job_of(led), cluster.researcher())
    assert (job.status, job.reason, job.reason_code) == (Status.QUEUED, "", "")
    again = cluster.claimed(job)
    assert (again.number, again.fence, again.first_round) == (2, 2, 2)


def test_a_pause_that_has_not_come_yet_can_be_taken_back(led: Run) -> None:
    pausing.pause(led.job, cluster.researcher())
    pausing.resume(job_of(led), cluster.researcher())
    commit(led, 1)
    assert (job_of(led).status, held()) == (Status.RUNNING, 2)


def test_a_paused_job_can_be_cancelled() -> None:
    job = cluster.queued()
    pausing.pause(job, cluster.researcher())
    jobs.cancel(job, cluster.researcher())
    job.refresh_from_db()
    assert (job.status, job.reason) == (Status.CANCELLED, "Cancelled by rosa.")


@pytest.mark.parametrize(
    "status", [Status.DRAFT, Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PAUSED]
)
def test_only_queued_and_running_jobs_pause(status: str) -> None:
    job = world.job(cluster.researcher(), "Clothes", status)
    with pytest.raises(Conflict, match=f"is {status}"):
        pausing.pause(job, cluster.researcher())
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PAUSED}))
def test_only_paused_jobs_are_resumed(status: str) -> None:
    job = world.job(cluster.researcher(), "Clothes", status)
    with pytest.raises(Conflict, match=f"is {status}"):
        pausing.resume(job, cluster.researcher())
    assert TrainingJob.objects.get().status == status


def test_asking_twice_is_refused(led: Run) -> None:
    pausing.pause(led.job, cluster.researcher())
    with pytest.raises(Conflict, match="pauses already"):
        pausing.pause(led.job, cluster.researcher())


def test_a_job_that_starts_at_that_moment_is_not_torn_from_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.idle("desk")
    job = cluster.queued()
    stale = TrainingJob.objects.get(pk=job.pk)
    move = jobs.move

    def meanwhile(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(jobs, "move", move)
        cluster.claimed(job)
        move(*args, **options)

    monkeypatch.setattr(jobs, "move", meanwhile)
    with pytest.raises(Conflict):
        pausing.pause(stale, cluster.researcher())


def test_a_run_that_a_paused_job_should_not_have_is_ended(led: Run) -> None:
    TrainingJob.objects.update(status=Status.PAUSED, reason="Paused.", reason_code="paused")
    supervision.check_runs()
    led.refresh_from_db()
    assert (led.status, led.reason_code, held()) == ("cancelled", "paused", 0)


@pytest.mark.parametrize("action", [pausing.pause, pausing.resume])
def test_only_the_owner_or_an_admin_may(action: Any) -> None:
    job = cluster.queued()
    for stranger in (world.person("rudi", roles.RESEARCHER), world.person("vera", roles.VIEWER)):
        with pytest.raises(NotAllowed):
            action(job, stranger)
    admin = world.person("ada", roles.ADMIN)
    pausing.pause(job, admin)
    pausing.resume(job, admin)
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {"job.pause", "job.resume"}


def test_each_move_is_in_the_jobs_history_with_who_made_it(led: Run) -> None:
    rosa = cluster.researcher()
    pausing.pause(led.job, rosa)
    commit(led, 1)
    pausing.resume(job_of(led), rosa)
    moves = JobEvent.objects.values_list("code", "status", "actor__username")
    assert list(moves)[1:] == [
        ("pausing", "running", "rosa"),
        ("paused", "paused", None),
        ("resumed", "queued", "rosa"),
    ]
