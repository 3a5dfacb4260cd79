"""Jobs that wait long and devices that stay away are told of, once each time."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from fl_server.models import Device, JobEvent, Notification, TrainingJob
from fl_server.services import jobs, reminders
from tests.server.world import World, job

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status


@pytest.fixture(autouse=True)
def up_before(settings: Any) -> None:
    cache.set(reminders.LOOKED, "before", 60)


def ago(hours: float) -> Any:
    return timezone.now() - timedelta(hours=hours)


def titles(user: Any) -> list[str]:
    return [notice.title for notice in Notification.objects.filter(user=user)]


def waits_since(waiting: TrainingJob, hours: float) -> None:
    TrainingJob.objects.filter(pk=waiting.pk).update(not_before=None)
    JobEvent.objects.filter(pk=waiting.events.last().pk).update(at=ago(hours))


def test_a_job_that_waits_for_more_than_an_hour_is_told_of_once(world: World) -> None:
    jobs.submit(world.draft, world.researcher)
    waits_since(world.draft, 0.9)
    assert reminders.remind() == 0
    waits_since(world.draft, 1.1)
    jobs.explain_waiting(world.draft, {"sentence": "Waits for devices: 2 needed, 0 fit now."})
    assert [reminders.remind(), reminders.remind()] == [1, 0]
    notice = Notification.objects.get(user=world.researcher)
    assert notice.title == "“Not yet” has waited for more than 1 hour"
    assert notice.text == "Waits for devices: 2 needed, 0 fit now."


def test_a_job_that_goes_back_to_the_queue_begins_to_wait_anew(world: World) -> None:
    back = world.running
    back.events.create(status=Status.RUNNING, code="started")
    jobs.move(back, Status.QUEUED, "engine-lost", "Tried again.")
    assert reminders.remind() == 0
    waits_since(back, 2)
    assert reminders.remind() == 1
    jobs.move(back, Status.RUNNING, "started", "")
    jobs.move(back, Status.QUEUED, "engine-lost", "Tried again.")
    assert reminders.remind() == 0
    waits_since(back, 1.5)
    assert reminders.remind() == 1


def test_a_note_while_it_waits_changes_nothing(world: World) -> None:
    jobs.submit(world.draft, world.researcher)
    waits_since(world.draft, 2)
    jobs.note(world.draft, "hint", "Something is said of it.")
    assert reminders.remind() == 1


def test_a_job_whose_time_has_not_come_does_not_wait(world: World) -> None:
    TrainingJob.objects.filter(pk=world.foreign.pk).update(created_at=ago(5), submitted_at=ago(5))
    TrainingJob.objects.filter(pk=world.foreign.pk).update(not_before=ago(0.5))
    assert reminders.remind() == 0
    TrainingJob.objects.filter(pk=world.foreign.pk).update(not_before=None)
    assert reminders.remind() == 1


def test_the_owner_of_a_device_that_stays_away_for_a_day_is_told_once(world: World) -> None:
    lost = Device.objects.filter(pk=world.training.pk)
    lost.update(last_seen=ago(23))
    assert reminders.remind() == 0
    lost.update(last_seen=ago(25))
    assert [reminders.remind(), reminders.remind()] == [1, 0]
    assert titles(world.owner) == ["otto-desk has not been heard of for 24 hours"]
    lost.update(last_seen=ago(24.5))
    assert reminders.remind() == 1, "it came back in between and stays away again"


@pytest.mark.parametrize("status", [Device.Status.PENDING, Device.Status.REVOKED])
def test_a_device_that_takes_no_part_is_not_missed(world: World, status: str) -> None:
    Device.objects.filter(pk=world.training.pk).update(last_seen=ago(48), status=status)
    assert reminders.remind() == 0


def test_a_platform_that_was_switched_off_itself_looks_again_before_it_speaks(world: World) -> None:
    cache.delete(reminders.LOOKED)
    Device.objects.filter(pk=world.training.pk).update(last_seen=ago(48))
    assert [reminders.remind(), reminders.remind()] == [0, 1]


def test_looking_costs_the_same_queries_however_many_there_are(
    world: World, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        job(world.researcher, f"Job {number}", Status.QUEUED, submitted_at=ago(3))
    with django_assert_max_num_queries(14):
        assert reminders.remind() == 30
