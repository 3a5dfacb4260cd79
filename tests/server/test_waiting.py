"""How a job waits: in which order, whom it holds up, what it says, and when it gives up."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from fl_server import tasks
from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.models import AuditEvent, Contribution, Device, JobEvent, Quota, Run, TrainingJob
from fl_server.services import jobs, quotas, runs, scheduling
from tests.server import cluster, world
from tests.server.cluster import idle, idle_devices, queued

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status
HOUR = 3600.0


def looked_at(job: TrainingJob) -> dict[str, Any]:
    """What the job says of itself after a look at the queue that did not start it."""
    assert job not in [run.job for run in scheduling.claim_next()]
    job.refresh_from_db()
    return job.waiting


def devices_of(count: int) -> dict[str, Any]:
    return {"min_devices": count, "max_devices": count}


def test_a_job_that_has_waited_long_goes_before_an_urgent_one() -> None:
    idle("desk")
    old = queued("old", age=11 * HOUR)
    queued("urgent", priority=100)
    assert [run.job for run in scheduling.claim_next()] == [old]


def test_each_waiting_job_has_its_position() -> None:
    first, second = queued("first", priority=9), queued("second")
    looked_at(first)
    assert looked_at(second)["position"] == 2
    assert looked_at(first)["position"] == 1


def test_several_jobs_run_at_once_on_different_devices() -> None:
    idle_devices(5)
    queued("first", participation=devices_of(2))
    queued("second", participation=devices_of(2))
    both = scheduling.claim_next()
    assert len(both) == 2
    held = [set(run.reservations.values_list("device", flat=True)) for run in both]
    assert not held[0] & held[1]


def test_each_reservation_says_why_its_device_was_chosen() -> None:
    idle("slow", relative_speed=0.2)
    idle("fast", relative_speed=5.0)
    choice = cluster.claimed(queued(participation=devices_of(1))).reservations.get().choice
    assert choice["sentence"].startswith("Chosen because it trains faster")
    assert choice["parts"]["speed"] > 0.8
    assert choice["score"] > 0.5


def test_a_run_takes_as_many_devices_as_over_selection_asks() -> None:
    idle_devices(9)
    wanted = {"min_devices": 2, "max_devices": 9, "target_devices": 4, "over_selection": 0.5}
    assert cluster.claimed(queued(participation=wanted)).reservations.count() == 6


def test_an_impossible_requirement_is_said_at_once_and_why() -> None:
    idle_devices(3)
    said = looked_at(queued(requirements={"min_cores": 64}, participation=devices_of(2)))
    assert said["impossible"]
    assert said["sentence"] == (
        "Waits for devices: 2 needed, 0 fit now. Impossible requirements: 0 of 3 could ever take it, "
        "for 3 have fewer than 64 cores."
    )


def test_more_devices_than_the_fleet_has_are_impossible() -> None:
    idle("desk")
    said = looked_at(queued(participation=devices_of(2)))
    assert said["sentence"] == "Waits for devices: 2 needed, 1 fit now. The whole fleet has only 1."


def test_a_device_that_is_away_may_come_back() -> None:
    idle("desk")
    idle("away", last_seen=None)
    assert "impossible" not in looked_at(queued(participation=devices_of(2)))


def test_a_job_says_when_it_gives_up_and_what_then() -> None:
    job = queued(waiting={"give_up_hours": 2, "then": "start-smaller"}, participation=devices_of(2))
    said = looked_at(job)
    assert said["then"] == "start-smaller"
    assert said["give_up_at"] == (job.submitted_at + timedelta(hours=2)).isoformat()


def test_a_job_that_waited_too_long_fails_and_says_for_what() -> None:
    job = queued(waiting={"give_up_hours": 1.5}, participation=devices_of(2), age=1.6 * HOUR)
    idle_devices(2)
    Device.objects.filter(name="desk-2").update(last_seen=None)
    assert scheduling.claim_next() == []
    job.refresh_from_db()
    assert (job.status, job.reason_code) == (Status.FAILED, "waited-too-long")
    assert job.reason == "Gave up after 1.5 hours in the queue. Waits for devices: 2 needed, 1 fit now."


def test_a_job_that_may_start_smaller_begins_with_what_is_there() -> None:
    idle_devices(2)
    wanted = {"waiting": {"give_up_hours": 1, "then": "start-smaller"}, "participation": devices_of(5)}
    early, late = queued("early", age=0.5 * HOUR, **wanted), queued("late", age=1.1 * HOUR, **wanted)
    assert [run.job for run in scheduling.claim_next()] == [late]
    early.refresh_from_db()
    assert early.status == Status.QUEUED


def test_a_job_never_starts_with_fewer_devices_than_a_round_needs_answers() -> None:
    idle("desk")
    enough = {"min_devices": 5, "max_devices": 5, "quorum": 2}
    job = queued(waiting={"give_up_hours": 1, "then": "start-smaller"}, participation=enough, age=2 * HOUR)
    assert looked_at(job)["needed"] == 2
    idle("second")
    assert [run.job for run in scheduling.claim_next()] == [job]


def test_patience_begins_anew_when_a_run_gave_its_devices_back() -> None:
    idle("desk")
    job = queued(waiting={"give_up_hours": 1}, age=2 * HOUR)
    runs.fail(cluster.led(job), "serverapp-lost", "gone")
    Device.objects.update(last_seen=None)
    TrainingJob.objects.update(not_before=None)
    looked_at(job)
    assert job.status == Status.QUEUED


def test_who_waited_long_gets_the_devices_that_runs_give_back() -> None:
    idle_devices(3)
    busy = cluster.claimed(queued("busy", participation=devices_of(2)))
    big = queued("big", participation=devices_of(3), age=1.1 * HOUR)
    small = queued("small", participation=devices_of(1))
    said = looked_at(big)
    assert said["sentence"].endswith("It keeps those that fit until other runs give back the rest.")
    small.refresh_from_db()
    assert list(small.waiting["unfit"].values()).count("is kept for a job that has waited longer") == 1
    runs.cancel(busy, "test")
    TrainingJob.objects.filter(pk=busy.job_id).update(status=Status.CANCELLED)
    assert [run.job for run in scheduling.claim_next()] == [big]


def test_who_waits_for_devices_that_are_away_holds_nothing() -> None:
    idle_devices(2)
    idle("away", last_seen=None)
    queued("big", participation=devices_of(3), age=9 * HOUR)
    small = queued("small", participation=devices_of(1))
    assert [run.job for run in scheduling.claim_next()] == [small]


def test_a_person_holds_no_more_devices_than_the_quota() -> None:
    idle_devices(6)
    quotas.set_for(cluster.person("ada", "admin"), user=cluster.researcher(), max_devices=4)
    assert cluster.claimed(queued("first", participation=devices_of(3))).reservations.count() == 3
    greedy = queued("greedy", participation={"min_devices": 1, "max_devices": 5})
    assert cluster.claimed(greedy).reservations.count() == 1
    said = looked_at(queued("third", participation=devices_of(1)))
    assert said["sentence"] == ("Waits for the quota of rosa: 4 of 4 devices are in use, and it needs 1.")


def test_a_quota_smaller_than_the_job_is_impossible() -> None:
    idle_devices(3)
    quotas.set_for(cluster.person("ada", "admin"), user=cluster.researcher(), max_devices=2)
    assert looked_at(queued(participation=devices_of(3)))["impossible"]


def test_the_members_of_a_group_share_its_quota() -> None:
    idle_devices(4)
    group = Group.objects.create(name="vision")
    rudi = world.person("rudi", "researcher")
    for member in (cluster.researcher(), rudi):
        member.groups.add(group)
    quotas.set_for(cluster.person("ada", "admin"), group=group, max_running_jobs=1)
    cluster.claimed(queued("first", participation=devices_of(1)))
    other = queued("other", participation=devices_of(1))
    TrainingJob.objects.filter(pk=other.pk).update(owner=rudi)
    assert looked_at(other)["sentence"] == (
        "Waits for the quota of the group vision: 1 of 1 job runs already."
    )


def test_a_quota_holds_up_nobody_else() -> None:
    idle("desk")
    quotas.set_for(cluster.person("ada", "admin"), user=cluster.researcher(), max_running_jobs=0)
    queued("hers", priority=9)
    his = queued("his")
    TrainingJob.objects.filter(pk=his.pk).update(owner=world.person("rudi", "researcher"))
    assert [run.job for run in scheduling.claim_next()] == [his]


def test_a_job_that_starts_leaves_the_error_of_its_forecast() -> None:
    idle_devices(2)
    busy = cluster.led(queued("busy", participation=devices_of(2), rounds=10))
    world.committed(busy, 1, {})
    job = queued("second", participation=devices_of(2))
    told = looked_at(job)["first_expected"]
    assert job.expected_start is not None
    assert job.expected_end > job.expected_start > timezone.now()
    runs.complete(busy)
    cluster.claimed(job)
    data = JobEvent.objects.get(job=job, code="started").data
    assert data["expected"] == told
    assert -19 < data["error_seconds"] < -10


def test_a_job_that_starts_at_once_was_never_forecast() -> None:
    idle("desk")
    run = cluster.claimed()
    assert JobEvent.objects.get(job=run.job, code="started").data == {
        "expected": None,
        "error_seconds": None,
    }


def test_the_expected_end_of_a_running_job_follows_its_rounds() -> None:
    idle("desk")
    run = cluster.led(queued(rounds=11))
    scheduling.claim_next()
    run.job.refresh_from_db()
    assert run.job.expected_end is None
    done = world.committed(run, 1, {})
    scheduling.claim_next()
    run.job.refresh_from_db()
    assert run.job.expected_end == done.finished_at + timedelta(seconds=20)


def test_a_device_that_works_says_what_it_lacks_for_ever() -> None:
    idle("desk", hardware={**cluster.HARDWARE, "gpus": []})
    cluster.led(queued("first"))
    assert looked_at(queued("second", requirements={"gpu": True}))["unfit"] == {"desk": "has no GPU"}


def test_a_new_job_is_forecast_from_one_with_the_same_model_and_dataset() -> None:
    idle("desk")
    before = cluster.led(queued("before"))
    world.committed(before, 1, {})
    runs.complete(before)
    run = cluster.claimed(queued("new", rounds=30))
    scheduling.claim_next()
    run.job.refresh_from_db()
    assert run.job.expected_end == run.job.started_at + timedelta(seconds=60)


def queries_of(look: Any, count: int, django_assert_max: Any) -> int:
    idle_devices(count)
    with django_assert_max(40) as asked:
        look()
    return len(asked)


@pytest.mark.parametrize("needed", [1, 1000])
def test_the_number_of_queries_does_not_grow_with_the_fleet(
    needed: int, django_assert_max_num_queries: Any
) -> None:
    counts = []
    for more in (2, 20, 60):
        job = queued(participation={"min_devices": needed, "max_devices": 1000})
        counts.append(queries_of(scheduling.claim_next, more, django_assert_max_num_queries))
        for run in Run.objects.filter(status__in=Run.ACTIVE):
            runs.cancel(run, "test")
        TrainingJob.objects.filter(pk=job.pk).update(status=Status.CANCELLED)
    # The first look knows of no job before it.
    assert counts[1] == counts[2]


def test_a_look_at_an_empty_queue_is_one_query(django_assert_num_queries: Any) -> None:
    idle_devices(3)
    with django_assert_num_queries(1):
        assert scheduling.claim_next() == []


def test_a_tick_with_nothing_to_do_asks_little(django_assert_max_num_queries: Any) -> None:
    idle_devices(3)
    tasks.tick()
    with django_assert_max_num_queries(10):
        tasks.tick()


def test_devices_are_not_read_while_no_job_is_due(django_assert_max_num_queries: Any) -> None:
    idle("desk")
    job = queued()
    TrainingJob.objects.filter(pk=job.pk).update(not_before=timezone.now() + timedelta(hours=1))
    with django_assert_max_num_queries(2) as asked:
        assert scheduling.claim_next() == []
    assert not [query for query in asked.captured_queries if "fl_server_device" in query["sql"]]


def test_only_an_admin_sets_a_quota_and_it_is_noted() -> None:
    rosa = cluster.researcher()
    with pytest.raises(NotAllowed):
        quotas.set_for(rosa, user=rosa, max_devices=1000)
    ada = cluster.person("ada", "admin")
    quota = quotas.set_for(ada, user=rosa, max_devices=5)
    assert quotas.set_for(ada, user=rosa, max_running_jobs=2).pk == quota.pk
    with pytest.raises(NotAllowed):
        quotas.remove(rosa, quota)
    quotas.remove(ada, quota)
    assert not Quota.objects.exists()
    actions = AuditEvent.objects.filter(actor=ada).values_list("action", "target")
    assert sorted(actions) == [("quota.remove", "user:rosa"), *[("quota.set", "user:rosa")] * 2]


@pytest.mark.parametrize("limits", [{"max_devices": -1}, {"max_running_jobs": 10**9}])
def test_a_quota_out_of_bounds_is_refused(limits: Any) -> None:
    with pytest.raises(InvalidInput, match="allowed are 0 to"):
        quotas.set_for(cluster.person("ada", "admin"), user=cluster.researcher(), **limits)


def test_a_quota_is_of_a_user_or_a_group() -> None:
    with pytest.raises(InvalidInput, match="not of both"):
        quotas.set_for(cluster.person("ada", "admin"), max_devices=1)


def test_a_paused_job_that_is_resumed_waits_anew() -> None:
    job = queued(age=50 * HOUR)
    jobs.move(job, Status.PAUSED, "paused", "x")
    jobs.move(job, Status.QUEUED, "resumed", "x")
    other = queued("other", age=HOUR)
    looked_at(other)
    assert looked_at(job)["position"] == 2


def again(run: Run, code: str) -> Run:
    """The next run of the job, after this one failed."""
    runs.fail(run, code, "x")
    return cluster.claimed(run.job)


def of(run: Run) -> Device:
    return run.reservations.get().device


def test_after_a_fault_of_the_platform_a_job_goes_on_with_the_same_devices() -> None:
    idle("usual")
    run = cluster.led(queued(participation=devices_of(1)))
    idle("better", relative_speed=9.0)
    assert of(again(run, "serverapp-lost")) == of(run)


def test_after_a_fault_of_its_devices_a_job_takes_better_ones() -> None:
    idle("usual")
    run = cluster.led(queued(participation=devices_of(1)))
    idle("better", relative_speed=9.0)
    assert of(again(run, "too-few-replies")).name == "better"


def test_a_device_that_could_do_nothing_for_a_job_is_its_last_choice() -> None:
    idle("fast", relative_speed=9.0)
    run = cluster.led(queued(participation=devices_of(1)))
    run.reservations.update(problem="data-missing")
    idle("slow", relative_speed=0.1)
    assert of(again(run, "serverapp-lost")).name == "slow"


def test_a_resumed_job_prefers_data_that_it_has_not_seen() -> None:
    idle("first")
    run = cluster.led(queued(participation=devices_of(1), partition={"count": 5}))
    run.participations.create(device=of(run), round_number=1, status="accepted")
    runs.cancel(run, "paused")
    TrainingJob.objects.filter(pk=run.job_id).update(status=Status.QUEUED)
    idle("second")
    assert of(cluster.claimed(run.job)).name == "second"


@pytest.mark.parametrize(("here", "there"), [(0.9, 0.1), (0.6, None)])
def test_a_device_that_is_usually_free_now_goes_first(here: float, there: float | None) -> None:
    idle("often", free_hours=[here] * 168)
    idle("other", free_hours=[] if there is None else [there] * 168)
    run = cluster.claimed(queued(participation=devices_of(1)))
    assert of(run).name == "often"
    assert run.reservations.get().choice["parts"]["availability"] == here


def test_a_device_that_worked_much_lately_rests() -> None:
    tired, fresh = idle("tired"), idle("fresh")
    for device, days in ((tired, 1), (fresh, 8)):
        Contribution.objects.create(
            device=device,
            owner=device.owner,
            job_name="x",
            round_number=1,
            at=timezone.now() - timedelta(days=days),
            examples=1,
            seconds=8 * HOUR,
        )
    run = cluster.claimed(queued(participation=devices_of(2)))
    rest = {each.device.name: each.choice["parts"]["rest"] for each in run.reservations.all()}
    assert rest == {"tired": 0.5, "fresh": 1.0}
