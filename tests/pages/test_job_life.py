"""The buttons of a job and its timeline."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.urls import reverse

from fl_server.models import AuditEvent, TrainingJob
from fl_server.services import jobs, pausing
from fl_server.views import jobs as job_views
from tests.pages.visitor import browser
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status
BUTTONS = ("submit", "resume", "pause", "rerun", "copy", "cancel")


def page(world: World, job: TrainingJob, person: Any = None) -> str:
    answer = browser(person or world.researcher).get(reverse("job", args=(job.pk,)))
    return str(answer.content.decode())


def buttons(world: World, job: TrainingJob, person: Any = None) -> list[str]:
    actions = page(world, job, person).split('class="actions"', 1)[1].split('id="job-facts"', 1)[0]
    return [name for name in BUTTONS if reverse(f"job-{name}", args=(job.pk,)) in actions]


def press(world: World, name: str, job: TrainingJob, **data: str) -> Any:
    answer = browser(world.researcher).post(reverse(f"job-{name}", args=(job.pk,)), data, follow=True)
    job.refresh_from_db()
    return answer


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        (Status.DRAFT, ["submit", "copy", "cancel"]),
        (Status.QUEUED, ["pause", "copy", "cancel"]),
        (Status.RUNNING, ["pause", "copy", "cancel"]),
        (Status.PAUSED, ["resume", "copy", "cancel"]),
        (Status.COMPLETED, ["rerun", "copy"]),
        (Status.FAILED, ["rerun", "copy"]),
    ],
)
def test_each_status_has_its_buttons(world: World, status: str, offered: list[str]) -> None:
    TrainingJob.objects.filter(pk=world.draft.pk).update(status=status)
    assert buttons(world, world.draft) == offered
    assert buttons(world, world.draft, world.viewer) == []


def test_of_a_foreign_job_a_researcher_is_offered_the_copy_alone(world: World) -> None:
    assert buttons(world, world.foreign) == ["copy"]


def test_a_job_that_is_about_to_pause_says_so_and_can_be_kept_going(world: World) -> None:
    press(world, "pause", world.running)
    assert world.running.pausing
    assert buttons(world, world.running) == ["resume", "pause", "copy", "cancel"]
    shown = page(world, world.running)
    assert "Pauses once the round under way is finished." in shown
    assert ">Pause</button>" not in shown
    assert ">Pause now</button>" in shown
    press(world, "resume", world.running)
    assert not world.running.pausing


def test_the_buttons_do_what_they_say(world: World) -> None:
    job = world.draft
    press(world, "submit", job)
    assert job.status == Status.QUEUED
    press(world, "pause", job)
    assert job.status == Status.PAUSED
    assert "Paused by rosa." in page(world, job)
    press(world, "resume", job)
    press(world, "cancel", job)
    assert job.status == Status.CANCELLED
    again = press(world, "rerun", job)
    made = TrainingJob.objects.get(cloned_from=job)
    assert made.status == Status.QUEUED
    assert again.redirect_chain[-1][0] == reverse("job", args=(made.pk,))


def test_pausing_now_gives_the_devices_back(world: World) -> None:
    press(world, "pause", world.running, now="1")
    assert world.running.status == Status.PAUSED
    assert world.running.runs.get().reservations.filter(released_at__isnull=True).count() == 0


def test_a_refusal_is_a_sentence_on_the_page(world: World) -> None:
    answer = press(world, "resume", world.running)
    assert "cannot become queued; only paused jobs can" in answer.content.decode()
    assert not AuditEvent.objects.filter(action="job.resume").exists()


def test_a_copy_may_begin_with_the_weights_of_a_round(world: World) -> None:
    press(world, "copy", world.running, round="2")
    made = TrainingJob.objects.get(cloned_from=world.running)
    assert (made.start_checkpoint, made.status) == (world.checkpoint, Status.DRAFT)


@pytest.mark.parametrize("number", ["9", "-1", "x", "1" * 40, "²"])
def test_a_round_that_has_no_checkpoint_makes_no_copy(world: World, number: str) -> None:
    answer = press(world, "copy", world.running, round=number)
    assert "There is no checkpoint of round" in answer.content.decode()
    assert not TrainingJob.objects.filter(cloned_from=world.running).exists()


@pytest.mark.parametrize(("name", "data"), [("copy", {"round": "2"}), ("copy", {}), ("rerun", {})])
def test_weights_whose_file_was_removed_are_a_sentence_on_the_page(
    world: World, name: str, data: dict[str, str]
) -> None:
    world.checkpoint.removed_at = datetime(2026, 5, 4, tzinfo=UTC)
    world.checkpoint.save()
    if not data:
        TrainingJob.objects.filter(pk=world.running.pk).update(start_checkpoint=world.checkpoint)
    answer = press(world, name, world.running, **data)
    assert answer.redirect_chain[-1][0] == reverse("job", args=(world.running.pk,))
    assert "was removed." in answer.content.decode()
    assert not TrainingJob.objects.filter(cloned_from=world.running).exists()


def test_the_timeline_tells_the_newest_move_first_and_who_made_it(world: World) -> None:
    jobs.submit(world.draft, world.researcher)
    pausing.pause(world.draft, world.researcher)
    shown = page(world, world.draft)
    moves = re.findall(r'<li id="move-\d+">.*?<span class="what">(.*?)</span>', shown)
    assert moves[0] == "Paused by rosa."
    assert len(moves) == 2
    assert "rosa · <code>paused</code>" in shown


def test_a_long_timeline_shows_its_newest_part_and_leads_to_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_views, "MOVES_SHOWN", 1)
    jobs.submit(world.draft, world.researcher)
    jobs.cancel(world.draft, world.researcher)
    part = browser(world.viewer).get(reverse("job-timeline", args=(world.draft.pk,))).content.decode()
    assert part.count('<li id="move-') == 1
    assert "the newest 1 of 2" in part
    assert reverse("api:job-events", args=(world.draft.pk,)) in part


def test_what_people_wrote_is_text_in_the_timeline(world: World) -> None:
    jobs.note(world.draft, "started", "<script>alert(1)</script>")
    assert "<script>alert(1)" not in page(world, world.draft)


def test_a_waiting_job_shows_its_place_and_what_is_expected_of_it(world: World) -> None:
    at = datetime(2031, 5, 4, 12, 30, tzinfo=UTC)
    TrainingJob.objects.filter(pk=world.foreign.pk).update(
        waiting={"sentence": "Waits.", "position": 3}, expected_start=at, expected_end=at, deadline_at=at
    )
    shown = page(world, world.foreign)
    assert "<dt>Place in the queue</dt><dd>3</dd>" in shown
    for name in ("Expected start", "Expected end", "Deadline"):
        assert re.search(f"<dt>{name}</dt><dd><time [^>]*>4 May 2031, 12:30 UTC</time></dd>", shown), name


def test_why_a_device_was_chosen_stands_beside_it(world: World) -> None:
    world.running.runs.get().reservations.update(choice={"sentence": "Chosen because it trains fast."})
    assert "Chosen because it trains fast." in page(world, world.running, world.viewer)


def test_a_copy_says_what_it_was_made_of(world: World) -> None:
    press(world, "copy", world.running, round="2")
    shown = page(world, TrainingJob.objects.get(cloned_from=world.running))
    assert f'<dt>Copy of</dt><dd><a href="{reverse("job", args=(world.running.pk,))}">' in shown
    assert "<dt>Began with</dt><dd>round 2 of" in shown


def test_a_paused_job_is_in_the_list_with_its_status(world: World) -> None:
    press(world, "pause", world.running, now="1")
    listed = browser(world.viewer).get(reverse("jobs")).content.decode()
    assert '<span class="chip" data-tone="wait">paused</span>' in listed
