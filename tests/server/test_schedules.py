"""Schedules: what people do with them, and what happens when one is due."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, PeriodicTask

from fl_server import roles, tasks
from fl_server.exceptions import Conflict, InvalidInput, NotAllowed, NotFound
from fl_server.models import AuditEvent, Schedule, TrainingJob
from fl_server.selectors import schedules as selectors
from fl_server.services import jobs, schedules
from tests.server.world import SPEC, person

pytestmark = [pytest.mark.services, pytest.mark.django_db]

BERLIN = "Europe/Berlin"
Kind, Missed = Schedule.Kind, Schedule.Missed


@pytest.fixture
def rosa(db: None) -> Any:
    return person("rosa", roles.RESEARCHER)


def nightly(by: Any, **fields: Any) -> Schedule:
    """At 02:30 in Berlin."""
    given = {"name": "Clothes", "spec": SPEC, "kind": Kind.CRON, "cron": "30 2 * * *", "timezone": BERLIN}
    return schedules.create(by, **given | fields)


def once(by: Any, **fields: Any) -> Schedule:
    given = {"name": "Tonight", "spec": SPEC, "kind": Kind.ONCE, "at": timezone.now() + timedelta(hours=1)}
    return schedules.create(by, **given | fields)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def as_if_made(schedule: Schedule, moment: datetime) -> Schedule:
    """As though the schedule had been made then."""
    upcoming = next(selectors.timing_of(schedule).after(moment))
    schedule.settled_until = upcoming - schedules.INSTANT
    schedule.save()
    return schedule


def ended(job: TrainingJob | None) -> None:
    assert job is not None
    jobs.cancel(job, job.owner)


def outcome(schedule: Schedule) -> str:
    schedule.refresh_from_db()
    return schedule.last_outcome


def alarm(schedule: Schedule) -> PeriodicTask:
    return PeriodicTask.objects.get(name=f"schedule {schedule.pk}")


def test_a_new_schedule_waits_for_its_next_time_and_has_an_alarm(rosa: Any) -> None:
    made = nightly(rosa)
    found = alarm(made)
    assert (found.task, found.args, found.enabled) == ("fl_server.tasks.run_schedule", f"[{made.pk}]", True)
    assert (found.crontab.minute, found.crontab.hour, str(found.crontab.timezone)) == ("30", "2", BERLIN)
    assert made.spec["training"]["optimizer"] == "sgd"
    assert not list(selectors.due(timezone.now()))
    assert AuditEvent.objects.get().action == "schedule.create"


def test_a_planned_time_starts_one_job_of_its_owner(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), at("2026-06-01 12:00"))
    assert schedules.run_due(made, at("2026-06-02 00:29")) is None
    schedules.run_due(made, at("2026-06-02 00:30"))
    job = made.jobs.get()
    assert (job.owner, job.status, job.name) == (rosa, "queued", "Clothes · 2026-06-02 02:30")
    assert job.idempotency_key == f"schedule-{made.pk}-2026-06-02T00:30:00+00:00"
    assert outcome(made) == f"Started job {job.pk} for 2026-06-02 02:30."
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {
        *("schedule.create", "job.create", "job.submit", "schedule.start")
    }


@pytest.mark.parametrize(
    ("day", "planned"),
    [("2026-03-29", "03-29 01:30"), ("2026-10-25", "10-25 00:30")],
    ids=["spring", "autumn"],
)
def test_on_the_days_of_daylight_saving_a_daily_job_starts_once(rosa: Any, day: str, planned: str) -> None:
    made = as_if_made(nightly(rosa, single_instance=False), at(f"{day} 00:00") - timedelta(hours=12))
    started = []
    for minutes in range(0, 24 * 60, 10):
        made.refresh_from_db()
        now = at(f"{day} 00:00") - timedelta(hours=6) + timedelta(minutes=minutes)
        if schedules.run_due(made, now):
            started.append(f"{now:%m-%d %H:%M}")
    assert started == [planned]


def test_a_message_that_comes_twice_starts_one_job(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), timezone.now() - timedelta(hours=26))
    stale = Schedule.objects.select_related("owner").get(pk=made.pk)
    tasks.run_schedule(made.pk)
    tasks.run_schedule(made.pk)
    assert schedules.run_due(stale, timezone.now()) is None
    assert made.jobs.count() == 1


def test_a_message_about_a_schedule_that_is_gone_is_no_error(db: None) -> None:
    tasks.run_schedule(4711)


@pytest.mark.django_db(transaction=True)
def test_of_many_that_notice_a_time_at_once_one_starts_the_job() -> None:
    made = as_if_made(
        nightly(person("rosa", roles.RESEARCHER), single_instance=False), timezone.now() - timedelta(hours=26)
    )
    gate = threading.Barrier(6)
    faults: list[BaseException] = []

    def notice() -> None:
        try:
            seen = Schedule.objects.select_related("owner").get(pk=made.pk)
            gate.wait(10)
            schedules.run_due(seen, timezone.now())
        except BaseException as exc:
            faults.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=notice) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert made.jobs.count() == 1


def test_the_tick_starts_what_is_due_though_the_alarm_was_lost(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), timezone.now() - timedelta(hours=26))
    tasks.tick()
    assert made.jobs.count() == 1


def test_looking_for_what_is_due_is_one_query(rosa: Any, django_assert_num_queries: Any) -> None:
    for number in range(5):
        nightly(rosa, name=f"Night {number}")
    with django_assert_num_queries(1):
        schedules.run_all_due(timezone.now())


def test_a_schedule_that_breaks_stops_no_other(rosa: Any, caplog: pytest.LogCaptureFixture) -> None:
    broken = as_if_made(nightly(rosa, name="A broken one"), timezone.now() - timedelta(hours=26))
    Schedule.objects.filter(pk=broken.pk).update(timezone="Mars/Olympus")
    good = as_if_made(nightly(rosa), timezone.now() - timedelta(hours=26))
    schedules.run_all_due(timezone.now())
    assert good.jobs.count() == 1
    assert "could not be run" in caplog.text


def test_of_all_times_that_were_missed_one_job_starts(rosa: Any) -> None:
    made = as_if_made(nightly(rosa, missed=Missed.RUN_ONCE), at("2026-06-01 12:00"))
    schedules.run_due(made, at("2026-06-05 12:00"))
    assert made.jobs.get().name.endswith("2026-06-05 02:30")
    made.refresh_from_db()
    ended(made.jobs.get())
    schedules.run_due(made, at("2026-06-06 12:00"))
    assert made.jobs.count() == 2


@pytest.mark.parametrize(("late", "starts"), [(0, 1), (4, 1), (5, 0), (600, 0)])
def test_skipping_what_was_missed_takes_only_a_time_that_is_fresh(rosa: Any, late: int, starts: int) -> None:
    made = as_if_made(nightly(rosa, missed=Missed.SKIP), at("2026-06-01 12:00"))
    schedules.run_due(made, at("2026-06-03 00:30") + timedelta(minutes=late))
    assert made.jobs.count() == starts
    assert outcome(made).startswith("Started job" if starts else "Nothing started for 2026-06-03 02:30: ")


def test_nothing_starts_while_its_last_job_has_not_ended(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), at("2026-06-01 12:00"))
    first = schedules.run_due(made, at("2026-06-02 00:30"))
    made.refresh_from_db()
    schedules.run_due(made, at("2026-06-03 00:30"))
    assert first is not None
    assert outcome(made) == f"Nothing started for 2026-06-03 02:30: its job {first.pk} has not ended."
    ended(first)
    schedules.run_due(made, at("2026-06-04 00:30"))
    assert made.jobs.count() == 2


def test_several_jobs_at_once_where_the_schedule_allows_it(rosa: Any) -> None:
    made = as_if_made(nightly(rosa, single_instance=False), at("2026-06-01 12:00"))
    for day in (2, 3, 4):
        made.refresh_from_db()
        schedules.run_due(made, at(f"2026-06-0{day} 00:30"))
    assert made.jobs.count() == 3


def test_an_owner_who_lost_the_role_starts_nothing(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), at("2026-06-01 12:00"))
    rosa.groups.clear()
    schedules.run_due(made, at("2026-06-02 00:30"))
    assert not made.jobs.exists()
    assert outcome(made) == "Nothing started for 2026-06-02 02:30: rosa may no longer create jobs."
    assert AuditEvent.objects.first().action == "schedule.skip"


def test_a_specification_that_is_no_longer_valid_is_the_outcome(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), at("2026-06-01 12:00"))
    made.spec["model"] = {"name": "oracle"}
    made.save()
    schedules.run_due(made, at("2026-06-02 00:30"))
    assert "oracle" in outcome(made)
    assert made.settled_until > at("2026-06-02 00:30")


def test_a_schedule_that_runs_once_is_over_after_its_time(rosa: Any) -> None:
    made = once(rosa)
    assert alarm(made).one_off
    later = timezone.now() + timedelta(hours=2)
    schedules.run_due(made, later)
    made.refresh_from_db()
    assert (made.jobs.count(), made.enabled, alarm(made).enabled) == (1, False, False)
    assert selectors.next_runs(made, later) == []


def test_a_paused_schedule_starts_nothing_and_makes_up_for_nothing(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), timezone.now() - timedelta(days=2))
    made = schedules.pause(made, rosa)
    schedules.run_all_due(timezone.now())
    assert not alarm(made).enabled
    with pytest.raises(Conflict):
        schedules.pause(made, rosa)
    made = schedules.enable(made, rosa)
    schedules.run_all_due(timezone.now())
    assert alarm(made).enabled
    assert not made.jobs.exists()
    with pytest.raises(Conflict):
        schedules.enable(made, rosa)


def test_a_schedule_whose_time_has_passed_is_enabled_by_a_new_time_alone(rosa: Any) -> None:
    made = once(rosa)
    schedules.run_due(made, timezone.now() + timedelta(hours=2))
    Schedule.objects.filter(pk=made.pk).update(at=timezone.now() - timedelta(hours=1))
    made.refresh_from_db()
    with pytest.raises(Conflict, match="has passed"):
        schedules.enable(made, rosa)
    assert not schedules.change(made, rosa, name="Renamed").enabled
    assert schedules.change(made, rosa, at=timezone.now() + timedelta(hours=1)).enabled


def test_a_new_time_replaces_the_alarm_and_starts_nothing_backwards(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), timezone.now() - timedelta(days=2))
    changed = schedules.change(made, rosa, cron="0 4 * * mon", timezone="UTC")
    schedules.run_all_due(timezone.now())
    assert not changed.jobs.exists()
    assert (alarm(changed).crontab.hour, alarm(changed).crontab.day_of_week) == ("4", "mon")
    changed = schedules.change(changed, rosa, kind=Kind.ONCE, at=timezone.now() + timedelta(hours=1))
    assert (changed.cron, alarm(changed).crontab) == ("", None)
    assert PeriodicTask.objects.count() == ClockedSchedule.objects.count() == 1
    assert not CrontabSchedule.objects.exists()


def test_a_change_of_anything_but_the_time_keeps_what_is_due(rosa: Any) -> None:
    made = as_if_made(nightly(rosa), timezone.now() - timedelta(hours=26))
    schedules.change(made, rosa, name="Other", single_instance=False)
    schedules.run_all_due(timezone.now())
    assert made.jobs.get().name.startswith("Other · ")


def test_running_it_now_starts_a_job_besides_the_planned_ones(rosa: Any) -> None:
    made = nightly(rosa)
    job = schedules.run_now(made, person("ada", roles.ADMIN))
    assert (job.owner, job.schedule, job.status) == (rosa, made, "queued")
    assert outcome(made).startswith("ada started job")
    with pytest.raises(Conflict, match=f"Job {job.pk} of this schedule has not ended"):
        schedules.run_now(made, rosa)
    ended(job)
    assert schedules.run_now(made, rosa).pk != job.pk


def test_deleting_it_leaves_its_jobs_and_no_alarm(rosa: Any) -> None:
    made = nightly(rosa)
    job = schedules.run_now(made, rosa)
    schedules.remove(made, rosa)
    job.refresh_from_db()
    assert job.schedule is None
    assert not PeriodicTask.objects.exists()
    assert not CrontabSchedule.objects.exists()
    made.pk = job.pk + 4711
    with pytest.raises(NotFound):
        schedules.pause(made, rosa)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": ""}, "cron"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"kind": Kind.ONCE}, "at"),
        ({"kind": Kind.ONCE, "at": timezone.now() - timedelta(minutes=1)}, "at"),
        ({"kind": "never"}, "kind"),
        ({"missed": "all"}, "missed"),
        ({"name": "  "}, "name"),
        ({"name": "n" * 121}, "name"),
        ({"spec": {**SPEC, "rounds": 0}}, "rounds"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(rosa: Any, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        nightly(rosa, **fields)
    assert caught.value.field == field
    made = nightly(rosa)
    with pytest.raises(InvalidInput):
        schedules.change(made, rosa, **fields)
    assert (Schedule.objects.count(), PeriodicTask.objects.count()) == (1, 1)


def test_only_its_owner_and_admins_change_a_schedule(rosa: Any) -> None:
    made = nightly(rosa)
    for other in (person("rudi", roles.RESEARCHER), person("vera", roles.VIEWER), person("olaf")):
        for act in (schedules.pause, schedules.enable, schedules.run_now, schedules.remove, schedules.change):
            with pytest.raises(NotAllowed):
                act(made, other)
    with pytest.raises(NotAllowed):
        nightly(person("otto", roles.OWNER))
    ada = person("ada", roles.ADMIN)
    assert schedules.change(made, ada, name="Ada's").owner == rosa
    rosa.groups.clear()
    with pytest.raises(NotAllowed):
        schedules.pause(made, rosa)
    schedules.remove(made, ada)
