"""Checkpoints on the page of their job, and the page that compares two."""

from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from fl_server.models import Checkpoint, Run
from fl_server.services import retention
from tests.pages.visitor import browser
from tests.server.test_retention import LATER, at, job_with
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def run(world: World, settings: Any, tmp_path: Path) -> Run:
    settings.CHECKPOINTS_DIR = tmp_path
    return job_with(5, keep_last=3, storage="delta")


def history(by: Any, run: Run) -> str:
    return browser(by).get(reverse("job-history", args=(run.job_id,))).content.decode()


def compared(by: Any, run: Run, **rounds: Any) -> Any:
    return browser(by).get(reverse("job-compare", args=(run.job_id,)), rounds)


def test_a_removed_checkpoint_is_counted_and_not_listed(world: World, run: Run) -> None:
    retention.sweep(now=LATER)
    page = history(world.viewer, run)
    assert "the best and the newest of 5, 2 of them removed" in page
    assert ">removed</span>" not in page
    assert reverse("api:checkpoint-download", args=(at(run, 0).pk,)) not in page
    assert reverse("api:checkpoint-download", args=(at(run, 3).pk,)) in page
    assert "saved</span>" in page


def test_only_those_who_may_pin_see_the_button(world: World, run: Run) -> None:
    address = reverse("checkpoint-pin", args=(at(run, 1).pk,))
    assert address not in history(world.viewer, run)
    assert address in history(world.admin, run)


def test_a_pinned_checkpoint_says_so_and_can_be_unpinned(world: World, run: Run) -> None:
    ada = browser(world.admin)
    answer = ada.post(reverse("checkpoint-pin", args=(at(run, 1).pk,)), follow=True)
    assert "stays until it is unpinned" in answer.content.decode()
    page = history(world.admin, run)
    assert ">pinned</span>" in page
    assert reverse("checkpoint-unpin", args=(at(run, 1).pk,)) in page
    ada.post(reverse("checkpoint-unpin", args=(at(run, 1).pk,)))
    assert not at(run, 1).pinned


def test_the_comparison_shows_metrics_and_distances(world: World, run: Run) -> None:
    Checkpoint.objects.filter(round_number=4).update(metrics={"accuracy": 0.75})
    Checkpoint.objects.filter(round_number=2).update(metrics={"accuracy": 0.5})
    page = compared(world.viewer, run, first=2, second=4).content.decode()
    assert "+0.2500" in page
    assert "layer.weight" in page
    assert "0.2 %" in page


def test_a_comparison_with_a_removed_one_still_shows_the_metrics(world: World, run: Run) -> None:
    Checkpoint.objects.filter(round_number=0).update(metrics={"accuracy": 0.1})
    retention.sweep(now=LATER)
    page = compared(world.viewer, run, first=0, second=4).content.decode()
    assert "was removed on" in page
    assert "0.1000" in page


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        ({"first": 2, "second": 99}, "There is no checkpoint of round 99."),
        ({"first": "x", "second": 1}, "Enter a whole number."),
        ({"first": 1}, "This field is required."),
    ],
)
def test_a_comparison_that_cannot_be_says_why(world: World, run: Run, rounds: Any, said: str) -> None:
    answer = compared(world.viewer, run, **rounds)
    assert answer.status_code == 400
    assert said in answer.content.decode()
