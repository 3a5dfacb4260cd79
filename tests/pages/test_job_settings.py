"""The folded settings of a job's page, its charts' cards and the order of its parts."""

from typing import Any

import pytest
from django.urls import reverse

from fl_server import spec, spec_sheet
from fl_server.models import TrainingJob
from tests.pages.visitor import browser
from tests.server.world import SPEC, World, job

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status
HIDDEN = 'id="job-curves" hidden'
CHANGES: dict[str, Any] = {
    "priority": 7,
    "requirements": {"gpu": True, "labels": {"room": "lab"}, "platforms": ["linux", "macos"]},
    "stopping": {"target": 0.9, "patience": 3, "deadline_hours": 12},
    "checkpoints": {"keep_last": 4, "storage": "delta"},
}


def page(world: World, shown: TrainingJob) -> str:
    return str(browser(world.viewer).get(reverse("job", args=(shown.pk,))).content.decode())


def with_spec(owner: Any, document: dict[str, Any]) -> TrainingJob:
    made = job(owner, "A job")
    made.spec = document
    made.save()
    return made


def test_a_page_lists_what_its_job_sets_apart_from_the_defaults(world: World) -> None:
    made = with_spec(world.researcher, spec.parse(SPEC | CHANGES).model_dump(mode="json"))
    shown = page(world, made)
    for line in (
        "Priority: 7",
        "Needs a GPU: yes",
        "Labels: room=lab",
        "Platforms: linux, macos",
        "Target: 0.9",
        "Rounds without improvement: 3",
        "Deadline, hours: 12",
        "Keep the last: 4",
        "Storage: delta",
    ):
        assert f"<dd>{line}</dd>" in shown, line
    assert "Memory at least" not in shown


def test_of_an_ordinary_job_only_its_metric_is_listed() -> None:
    usual = spec_sheet.changed(spec.parse(SPEC).model_dump(mode="json"))
    assert usual == [spec_sheet.Group("Metric", [("Name", "accuracy"), ("Direction", "maximize")])]


def test_a_specification_stored_before_a_setting_came_is_shown_too(world: World) -> None:
    assert 'id="job-settings"' in page(world, with_spec(world.researcher, {**SPEC, "stopping": {}}))


@pytest.mark.parametrize("status", [Status.DRAFT, Status.FAILED, Status.CANCELLED])
def test_a_job_that_never_had_a_round_shows_no_empty_charts(world: World, status: str) -> None:
    assert HIDDEN in page(world, job(world.researcher, "A job", status))


def test_a_job_that_has_rounds_or_will_have_them_shows_its_charts(world: World) -> None:
    assert HIDDEN not in page(world, job(world.researcher, "A job"))
    TrainingJob.objects.filter(pk=world.running.pk).update(status=Status.FAILED)
    assert HIDDEN not in page(world, world.running)


def test_what_happened_stands_above_the_long_tables(world: World) -> None:
    shown = page(world, world.running)
    assert shown.index('id="job-timeline"') < shown.index('id="job-history"')
