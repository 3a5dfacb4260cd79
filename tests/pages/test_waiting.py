"""What the page of a job says while the job waits."""

from typing import Any

import pytest
from django.urls import reverse

from fl_server.models import TrainingJob
from fl_server.services import scheduling
from tests.pages.visitor import browser
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def page(job: TrainingJob) -> str:
    scheduling.claim_next()
    return str(browser(cluster.researcher()).get(reverse("job", args=(job.pk,))).content.decode())


@pytest.mark.parametrize(("then", "words"), [("fail", "fails"), ("start-smaller", "starts smaller")])
def test_a_job_that_gives_up_says_when_and_what_then(then: str, words: str) -> None:
    wanted: dict[str, Any] = {"waiting": {"give_up_hours": 3, "then": then}}
    shown = page(cluster.queued(participation={"min_devices": 2}, **wanted))
    assert "<dt>Waits until</dt>" in shown
    assert f"UTC</time>, then {words}</dd>" in shown


def test_a_job_without_bounds_does_not() -> None:
    assert "Waits until" not in page(cluster.queued(participation={"min_devices": 2}))


def test_impossible_requirements_are_said_at_once() -> None:
    cluster.idle("desk")
    assert "Impossible requirements: 0 of 1 could ever take it" in page(
        cluster.queued(requirements={"min_cores": 999})
    )
