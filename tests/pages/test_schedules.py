"""The pages of schedules: what they say, and what their forms and buttons do."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from fl_server.models import AuditEvent, Schedule
from fl_server.services import schedules
from tests.pages.test_admin import address, run, staff
from tests.pages.visitor import browser
from tests.server.world import SPEC, World

__all__ = ["staff"]

pytestmark = [pytest.mark.services, pytest.mark.django_db]

NIGHTLY = {
    "name": "Clothes by night",
    "kind": "cron",
    "cron": "30 2 * * mon-fri",
    "timezone": "Europe/Berlin",
    "single_instance": "on",
    "missed": "run-once",
}


def new(world: World, by: Any, **changes: Any) -> Any:
    return browser(by).post(f"{reverse('schedule-new')}?job={world.running.pk}", NIGHTLY | changes)


def text(answer: Any) -> str:
    return answer.content.decode()


def test_a_jobs_page_leads_to_a_schedule_of_its_specification(world: World) -> None:
    link = f"{reverse('schedule-new')}?job={world.running.pk}"
    job_page = reverse("job", args=(world.running.pk,))
    assert f'href="{link}"' in text(browser(world.researcher).get(job_page))
    assert "schedule-new" not in text(browser(world.viewer).get(job_page))
    assert link not in text(browser(world.viewer).get(job_page))
    assert f'href="{link}"' in text(
        browser(world.researcher).get(reverse("job-head", args=(world.running.pk,)))
    )
    page = text(browser(world.researcher).get(link))
    assert "lenet" in page
    assert f'value="{world.running.name}"' in page
    answer = new(world, world.researcher)
    made = Schedule.objects.get(name="Clothes by night")
    assert answer["Location"] == reverse("schedule", args=(made.pk,))
    assert made.spec == world.running.spec
    assert PeriodicTask.objects.get().name == f"schedule {made.pk}"


@pytest.mark.parametrize(("most", "said"), [(2, "2"), (5, "2 to 5")])
def test_a_number_of_devices_is_a_range_only_where_it_is_one(world: World, most: int, said: str) -> None:
    world.schedule.spec["participation"] = {"min_devices": 2, "max_devices": most}
    world.schedule.save()
    page = text(browser(world.viewer).get(reverse("schedule", args=(world.schedule.pk,))))
    assert f"<dt>Devices</dt><dd>{said}</dd>" in page


def test_one_schedule_too_many_is_refused_on_the_page(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(schedules, "MOST_OF_ONE", world.researcher.schedules.count())
    answer = new(world, world.researcher)
    assert answer.status_code == 400
    assert "which is the most allowed" in text(answer)


@pytest.mark.parametrize("kind", ["cron", "once"])
def test_a_schedule_whose_time_zone_is_unknown_hides_nothing_and_can_be_mended(
    world: World, kind: str
) -> None:
    when = {"kind": kind, "timezone": "US/Gone", "at": timezone.now() + timedelta(days=1)}
    Schedule.objects.filter(pk=world.schedule.pk).update(**when)
    visitor, edit = browser(world.admin), reverse("schedule-edit", args=(world.schedule.pk,))
    for path in (reverse("schedules"), reverse("schedule", args=(world.schedule.pk,)), edit):
        assert "US/Gone" in text(visitor.get(path))
    assert visitor.post(edit, NIGHTLY).status_code == 302
    assert Schedule.objects.get(pk=world.schedule.pk).timezone == "Europe/Berlin"


def test_without_a_job_one_is_chosen_first(world: World) -> None:
    page = text(browser(world.researcher).get(reverse("schedule-new")))
    assert f"?job={world.foreign.pk}" in page
    assert browser(world.researcher).get(f"{reverse('schedule-new')}?job=999999").status_code == 404


def test_the_page_of_a_schedule_says_when_it_runs_and_what_it_started(world: World) -> None:
    new(world, world.researcher)
    made = Schedule.objects.get(name="Clothes by night")
    job = schedules.run_now(made, world.researcher)
    page = text(browser(world.viewer).get(reverse("schedule", args=(made.pk,))))
    assert "At 02:30, Monday through Friday (Europe/Berlin)" in page
    assert page.count(", 02:30</time>") == 5
    assert job.name in page
    assert f"rosa started job {job.pk}" in page
    assert "Run now" not in page
    assert "Run now" in text(browser(world.researcher).get(reverse("schedule", args=(made.pk,))))


def test_a_time_is_one_of_the_chosen_zones_clock(world: World) -> None:
    year = timezone.now().year + 1
    new(world, world.researcher, kind="once", at=f"{year}-07-01T08:00")
    made = Schedule.objects.get(name="Clothes by night")
    assert made.at
    assert made.at.isoformat() == f"{year}-07-01T06:00:00+00:00"
    page = text(browser(world.researcher).get(reverse("schedule-edit", args=(made.pk,))))
    assert f'value="{year}-07-01T08:00"' in page


@pytest.mark.parametrize(
    ("changes", "said", "times"),
    [
        ({}, "At 02:30, Monday through Friday (Europe/Berlin). The next 5 runs:", 5),
        ({"cron": "* 25"}, "five fields", 0),
        ({"cron": ""}, "The next runs show here.", 0),
        ({"kind": "once", "at": "2001-01-01T08:00"}, "This time has passed.", 0),
        ({"kind": "once", "at": "2999-01-01T08:00"}, "The next run:", 1),
        ({"kind": "once", "at": "0001-01-01T08:00"}, "in the year 1", 0),
        ({"timezone": "Mars/Olympus"}, "The next runs show here.", 0),
    ],
)
def test_the_form_shows_when_it_would_run(
    world: World, changes: dict[str, str], said: str, times: int
) -> None:
    answer = browser(world.researcher).get(reverse("schedule-preview"), NIGHTLY | changes)
    assert answer.status_code == 200
    assert said in text(answer)
    assert text(answer).count("<time") == times


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cron": "0 25 * * *"}, "&#x27;25&#x27; for its hour"),
        ({"cron": ""}, "five fields"),
        ({"timezone": "Mars/Olympus"}, "not one of the available choices"),
        ({"kind": "once"}, "at is missing"),
        ({"kind": "once", "at": "2001-01-01T08:00"}, "which has passed"),
        ({"name": ""}, "This field is required"),
    ],
)
def test_a_fault_stands_beside_its_field(world: World, changes: dict[str, str], said: str) -> None:
    answer = new(world, world.researcher, **changes)
    assert answer.status_code == 400
    assert said in text(answer)
    assert 'class="fault"' in text(answer)
    assert not Schedule.objects.exclude(pk=world.schedule.pk).exists()


def test_changing_pausing_and_deleting_from_the_page(world: World) -> None:
    rosa, key = browser(world.researcher), (world.schedule.pk,)
    rosa.post(reverse("schedule-edit", args=key), NIGHTLY | {"cron": "0 4 * * *", "name": "Later"})
    world.schedule.refresh_from_db()
    assert (world.schedule.name, world.schedule.cron) == ("Later", "0 4 * * *")
    assert ">paused<" in text(rosa.post(reverse("schedule-pause", args=key), follow=True))
    assert "is paused already" in text(rosa.post(reverse("schedule-pause", args=key), follow=True))
    assert ">enabled<" in text(rosa.post(reverse("schedule-enable", args=key), follow=True))
    assert "has not ended" not in text(rosa.post(reverse("schedule-run", args=key), follow=True))
    assert "has not ended" in text(rosa.post(reverse("schedule-run", args=key), follow=True))
    assert "No schedules yet" in text(rosa.post(reverse("schedule-remove", args=key), follow=True))


def test_nobody_changes_the_schedule_of_another_from_the_page(world: World) -> None:
    foreign, key = browser(world.foreign.owner), (world.schedule.pk,)
    assert foreign.get(reverse("schedule-edit", args=key)).status_code == 403
    assert foreign.post(reverse("schedule-edit", args=key), NIGHTLY).status_code == 403
    for name in ("pause", "enable", "run", "remove"):
        assert foreign.post(reverse(f"schedule-{name}", args=key)).status_code == 403
        assert foreign.get(reverse(f"schedule-{name}", args=key)).status_code == 405
    assert not AuditEvent.objects.exists()


def test_the_list_costs_the_same_queries_however_many_there_are(
    world: World, django_assert_max_num_queries: Any
) -> None:
    later = timezone.now() + timedelta(hours=1)
    for n in range(15):
        schedules.create(world.researcher, name=f"S{n}", spec=SPEC, kind="once", at=later)
    client = browser(world.viewer)
    with django_assert_max_num_queries(10):
        page = text(client.get(reverse("schedules")))
    assert page.count('class="name"') == 16


def test_admins_pause_enable_run_and_delete_schedules_through_the_service(world: World, staff: Any) -> None:
    assert "At 02:30" in text(staff.get(address(Schedule, "changelist")))
    for action, done in (("pause", "paused"), ("enable", "enabled"), ("run_now", "started")):
        assert f"1 {done}." in text(run(staff, Schedule, action, world.schedule))
    assert "has not ended" in text(run(staff, Schedule, "run_now", world.schedule))
    run(staff, Schedule, "remove", world.schedule)
    assert not Schedule.objects.exists()
    actions = list(AuditEvent.objects.filter(target__startswith="schedule").values_list("action", flat=True))
    assert actions == ["schedule.remove", "schedule.run", "schedule.enable", "schedule.pause"]


def test_the_alarms_behind_schedules_are_changed_by_nobody() -> None:
    assert not [model for model in admin.site._registry if model._meta.app_label == "django_celery_beat"]
