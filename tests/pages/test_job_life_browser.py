"""Pausing a job in the browser: the page and its timeline follow by themselves, on any screen."""

from typing import Any

import pytest

from fl_server.services import jobs, pausing
from tests.pages.demo import Demo
from tests.pages.test_browser import SCREENS, Visit, job_page, shoot

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = [pytest.mark.browser, pytest.mark.services]


def test_a_job_is_paused_and_resumed_and_the_timeline_of_others_follows(demo: Demo, visit: Visit) -> None:
    mine, other = visit(demo.researcher), visit(demo.admin)
    page, theirs = mine.open(job_page(demo)), other.open(job_page(demo))
    other.never_reloads()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Pause now").click()
    expect(page.locator("#job-head .chip").first).to_have_text("paused")
    moves: Any = theirs.locator("#timeline li")
    expect(moves.first).to_contain_text("Paused by")
    expect(theirs.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(moves.first).to_contain_text("Resumed; waits for devices.")
    expect(theirs.get_by_role("button", name="Resume")).to_have_count(0)
    assert not other.was_reloaded()


def test_a_drafts_charts_appear_once_it_is_submitted(demo: Demo, visit: Visit) -> None:
    draft = jobs.create(demo.researcher, "A draft", demo.job.spec)
    visitor = visit(demo.researcher)
    page = visitor.open(f"/jobs/{draft.pk}/")
    visitor.never_reloads()
    expect(page.locator("#job-curves")).to_be_hidden()
    jobs.submit(draft, demo.researcher)
    expect(page.locator("#job-curves")).to_be_visible()
    assert not visitor.was_reloaded()


def test_the_axes_hold_what_a_value_can_be(demo: Demo, visit: Visit) -> None:
    page = visit(demo.researcher).open(job_page(demo))
    bounds = (
        "['accuracy', 'loss'].map((id) => Chart.getChart(`${id}-chart`).scales.y).map((y) => [y.min, y.max])"
    )
    accuracy, loss = page.evaluate(bounds)
    assert accuracy == [0, 1]
    assert loss[0] == 0


@pytest.mark.parametrize("screen", SCREENS)
def test_the_timeline_fits_the_screen(demo: Demo, visit: Visit, screen: str) -> None:
    pausing.pause(demo.job, demo.researcher)
    pausing.resume(demo.job, demo.researcher)
    pausing.pause(demo.job, demo.admin)
    visitor = visit(demo.admin, **SCREENS[screen])
    page = visitor.open(job_page(demo))
    expect(page.locator("#timeline li")).to_have_count(demo.job.events.count())
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    shoot(visitor, f"job-life-{screen}")
    assert wide <= 0
