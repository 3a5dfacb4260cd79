"""The bell as a person sees it: it counts by itself, and its pages fit on any screen."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from fl_server.models import Alert, AlertRule, Device, Notification
from fl_server.services import notifications, webhooks
from tests.pages.demo import Demo
from tests.pages.test_browser import SCREENS, shoot
from tests.pages.visitor import Visitor

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = [pytest.mark.browser, pytest.mark.services]

Visit = Callable[..., Visitor]
COUNT = "[data-unread]"


def told(user: Any, title: str, path: str = "") -> None:
    notifications.tell(user, "job-finished", title, "All of its 8 rounds are done.", path, fact=title)


@pytest.mark.parametrize("path", ["/jobs/", "/devices/", "/notifications/"])
def test_the_bell_counts_while_one_looks_at_a_page(demo: Demo, visit: Visit, path: str) -> None:
    visitor = visit(demo.researcher)
    page = visitor.open(path)
    visitor.never_reloads()
    expect(page.locator(COUNT)).to_be_hidden()
    told(demo.researcher, "“Clothes” is done")
    expect(page.locator(COUNT)).to_have_text("1")
    notifications.mark_read(demo.researcher)
    expect(page.locator(COUNT)).to_be_hidden()
    assert not visitor.was_reloaded()


@pytest.mark.parametrize("path", ["/jobs/new/", "/contributions/", "/schedules/"])
def test_the_bell_counts_on_a_page_that_listens_to_nothing_else(demo: Demo, visit: Visit, path: str) -> None:
    visitor = visit(demo.researcher)
    page = visitor.open(path, live=False)
    visitor.never_reloads()
    told(demo.researcher, "“Clothes” is done")
    expect(page.locator(COUNT)).to_have_text("1")
    notifications.mark_read(demo.researcher)
    expect(page.locator(COUNT)).to_be_hidden()
    expect(page.locator("[data-link]")).to_be_hidden()
    assert not visitor.was_reloaded()


def test_the_list_grows_while_it_is_open_and_opening_one_leads_to_its_page(demo: Demo, visit: Visit) -> None:
    page = visit(demo.researcher).open("/notifications/")
    told(demo.researcher, "“Clothes” is done", f"/jobs/{demo.job.pk}/")
    page.get_by_role("button", name="“Clothes” is done").click()
    page.wait_for_url(f"**/jobs/{demo.job.pk}/")
    assert Notification.objects.get(user=demo.researcher).read_at


@pytest.mark.parametrize("screen", SCREENS)
def test_its_pages_fit_on_every_screen(demo: Demo, visit: Visit, screen: str) -> None:
    for number in range(3):
        told(demo.researcher, f"“A job with quite a long name, number {number}” is done")
    notifications.mark_read(demo.researcher, [Notification.objects.last().pk])
    webhooks.save(demo.researcher, "https://hooks.example/" + "a-long-path-" * 8)
    rule = AlertRule.objects.create(metric="memory", threshold=95, clear_below=90)
    hot = Device.objects.get(name="lab-ws-01")
    Alert.objects.create(rule=rule, device=hot, began_at=timezone.now(), value=97.4)
    visitor = visit(demo.researcher, **SCREENS[screen])
    pages = {
        "notifications": "/notifications/",
        "choices": "/notifications/choices/",
        "hot": f"/devices/{hot.pk}/",
        "fleet": "/devices/",
    }
    for name, path in pages.items():
        page = visitor.open(path, live=name != "choices")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        shoot(visitor, f"bell-{name}-{screen}")
        assert wide <= 0, f"{name} is {wide} px too wide"
