"""The page of one device in a real browser: curves that grow, a log that arrives by itself."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from fl_server.models import ClientLog, Device
from fl_server.services import client_logs, signs
from tests.pages import past
from tests.pages.demo import Demo
from tests.pages.test_browser import SCREENS, shoot
from tests.pages.visitor import Visitor

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = [pytest.mark.browser, pytest.mark.services]

Visit = Callable[..., Visitor]
CANVAS = """document.querySelector('[data-curve="processor"] canvas')"""
POINTS = f"Chart.getChart({CANVAS}).data.datasets[0].data.length"


def points(visitor: Visitor, wanted: Callable[[int], bool]) -> int:
    until = time.monotonic() + 8
    while not wanted(found := int(visitor.page.evaluate(POINTS))):
        assert time.monotonic() < until, f"{found} points"
        visitor.page.wait_for_timeout(50)
    return found


@pytest.mark.parametrize("screen", SCREENS)
def test_a_device_with_a_past_fits_the_screen(demo: Demo, visit: Visit, screen: str) -> None:
    device = demo.devices[0]
    past.lived(device)
    demo.middle_of_round(9)
    visitor = visit(demo.admin, **SCREENS[screen])
    page = visitor.open(f"/devices/{device.pk}/")
    points(visitor, lambda found: found > 100)
    expect(page.locator("[data-curve='battery']")).to_be_hidden()
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    shoot(visitor, f"device-past-{screen}")
    assert wide <= 0, f"{wide} px too wide"


def test_a_reader_chooses_the_time_that_the_curves_show(demo: Demo, visit: Visit) -> None:
    device = demo.devices[0]
    past.measured(device)
    visitor = visit(demo.researcher)
    page = visitor.open(f"/devices/{device.pk}/")
    hour = points(visitor, lambda found: found > 100)
    page.get_by_role("button", name="Day").click()
    day = points(visitor, lambda found: found > hour)
    expect(page.get_by_role("button", name="Day")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Month").click()
    points(visitor, lambda found: found not in (hour, day) and found > 600)


def test_each_sample_lengthens_the_curve(demo: Demo, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "SECONDS", 0.0)
    device = demo.devices[0]
    past.measured(device)
    visitor = visit(demo.researcher)
    visitor.open(f"/devices/{device.pk}/")
    visitor.never_reloads()
    before = points(visitor, lambda found: found > 100)
    visitor.page.wait_for_timeout(500)
    demo.sample(device, cpu=77.0)
    points(visitor, lambda found: found == before + 1)
    expect(visitor.page.locator("[data-cpu]")).to_have_text("77 %")
    assert not visitor.was_reloaded()


def test_a_log_appears_by_itself_when_the_device_sends_it(demo: Demo, visit: Visit) -> None:
    device = Device.objects.get(pk=demo.devices[0].pk)
    visitor = visit(demo.owner)
    page = visitor.open(f"/devices/{device.pk}/")
    page.get_by_role("button", name="Fetch the log").click()
    expect(page.get_by_text("on its way")).to_be_visible()
    page.wait_for_selector('[data-link][data-state="live"]')
    visitor.never_reloads()
    client_logs.received(device, ClientLog.objects.get().pk, ["the first line"])
    expect(page.locator("#device-logs pre")).to_have_text("the first line")
    assert not visitor.was_reloaded()


def test_a_person_replaces_the_former_device(demo: Demo, visit: Visit) -> None:
    device = demo.devices[0]
    past.lived(device)
    visitor = visit(demo.owner)
    page: Any = visitor.open(f"/devices/{device.pk}/")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Replace it").click()
    expect(page.get_by_role("heading", name="lab-ws-01 (old disk)")).to_be_visible()
    expect(page.get_by_text("It has taken the place of")).to_be_visible()
    expect(page.get_by_role("button", name="Replace it")).to_have_count(0)
