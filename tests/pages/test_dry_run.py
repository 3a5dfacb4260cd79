"""The panel of the new-job form that says what would become of the job."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from fl_server import kick
from fl_server.models import AuditEvent, MemoryEstimate, TrainingJob
from fl_server.services import estimates
from fl_server.views import dry_run
from tests.pages.test_new_job import form_data
from tests.pages.visitor import browser
from tests.server import cluster
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(kick, "estimate", found.append)
    return found


def panel(world: World, **changes: str) -> str:
    answer = browser(world.researcher).post(reverse("job-dry-run"), form_data(**changes))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_form_offers_a_dry_run_and_has_a_place_for_it(world: World) -> None:
    page = browser(world.researcher).get(reverse("job-new")).content.decode()
    assert f'hx-post="{reverse("job-dry-run")}"' in page
    assert 'id="dry-run"' in page


def test_the_panel_counts_devices_and_says_why_the_others_do_not_fit(world: World) -> None:
    cluster.idle("free")
    assert "1 goes first" in panel(world)
    world.foreign.delete()
    text = panel(world)
    assert "starts at once" in text
    assert "Waits for approval" in text
    assert "Is not yet registered with the engine" in text
    assert world.training.name in text


def test_a_dry_run_makes_nothing_and_needs_no_name(world: World) -> None:
    before = TrainingJob.objects.count()
    assert "Dry run" in panel(world, title="")
    assert (TrainingJob.objects.count(), AuditEvent.objects.count()) == (before, 0)


def test_memory_that_is_being_estimated_is_looked_for_again_and_not_for_ever(
    world: World, asked: list[Any]
) -> None:
    assert 'hx-trigger="load delay:2s"' in panel(world)
    assert len(asked) == 1
    last = panel(world, looks=str(dry_run.MOST_LOOKS))
    assert "hx-trigger" not in last
    assert "unknown" in last


@pytest.mark.parametrize("looks", ["-1", "many", "9" * 50, "²"])
def test_nonsense_for_the_number_of_looks_is_no_failure(world: World, looks: str) -> None:
    assert "Dry run" in panel(world, looks=looks)


def test_memory_that_is_known_is_shown_and_ends_the_looking(world: World, asked: list[Any]) -> None:
    panel(world)
    MemoryEstimate.objects.create(key=estimates.key_for(asked[0]), total_bytes=3_040_000_000)
    text = panel(world)
    assert "3.0 GB" in text
    assert "hx-trigger" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rounds": "0"}, "Rounds"),
        ({"rounds": "many"}, "Rounds"),
        ({"participation.min_devices": "20"}, "max_devices"),
        ({"strategy.name": "magic"}, "Strategy"),
        ({"metric.direction": ""}, "Direction"),
    ],
)
def test_what_is_wrong_with_the_form_is_said_in_the_panel(
    world: World, changes: dict[str, str], said: str
) -> None:
    text = panel(world, **changes)
    assert "Not possible yet" in text
    assert said in text


def test_a_device_whose_name_is_markup_is_shown_as_text(world: World) -> None:
    world.training.name = "<img src=x>"
    world.training.save()
    text = panel(world)
    assert "<img" not in text
    assert escape("<img src=x>") in text


def test_a_dry_run_is_asked_for_with_a_token_and_never_by_a_link(world: World) -> None:
    assert browser(world.admin).get(reverse("job-dry-run")).status_code == 405
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(world.admin)
    assert careful.post(reverse("job-dry-run"), form_data()).status_code == 403
