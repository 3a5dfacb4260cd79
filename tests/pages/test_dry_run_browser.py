"""The dry run in a real browser: nothing is submitted, and the memory appears by itself."""

from collections.abc import Callable
from math import sin
from typing import Any

import pytest

from fl_server import kick
from fl_server.models import Device, MemoryEstimate, TrainingJob
from fl_server.services import estimates
from tests.pages.demo import Demo
from tests.pages.test_browser import SCREENS, shoot
from tests.pages.visitor import Visitor

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = [pytest.mark.browser, pytest.mark.services]

Visit = Callable[..., Visitor]
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(kick, "estimate", found.append)
    return found


@pytest.mark.parametrize("screen", SCREENS)
def test_a_dry_run_fits_the_screen_and_fills_in_the_memory(
    demo: Demo, visit: Visit, asked: list[Any], screen: str
) -> None:
    before = TrainingJob.objects.count()
    visitor = visit(demo.researcher, **SCREENS[screen])
    page = visitor.open("/jobs/new/", live=False)
    page.get_by_label("Metric").select_option("accuracy")
    page.get_by_label("Direction").select_option("maximize")
    page.get_by_role("button", name="Dry run").click()
    panel = page.locator("#dry-run")
    expect(panel).to_contain_text("Works on another run")
    expect(panel).to_contain_text("being estimated")
    MemoryEstimate.objects.create(key=estimates.key_for(asked[0]), total_bytes=593_000_000)
    expect(panel).to_contain_text("593 MB")
    wide = page.evaluate(WIDE)
    shoot(visitor, f"dry-run-{screen}")
    assert wide <= 0, f"{wide} px too wide"
    assert TrainingJob.objects.count() == before


def test_what_is_missing_in_the_form_is_said_without_leaving_it(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.researcher, **SCREENS["phone"])
    page = visitor.open("/jobs/new/", live=False)
    visitor.never_reloads()
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator("#dry-run .faults")).to_contain_text("Metric")
    assert not visitor.was_reloaded()


@pytest.mark.parametrize("screen", ["light", "phone-dark"])
def test_the_week_of_a_machine_fits_the_screen(demo: Demo, visit: Visit, screen: str) -> None:
    device = demo.devices[0]
    hours = [round(0.5 + 0.5 * sin(hour / 24 * 6.28), 3) for hour in range(168)]
    facts = {"relative_speed": 1.4, "network_bytes_a_second": 8.2e6}
    Device.objects.filter(pk=device.pk).update(free_hours=hours, **facts)
    visitor = visit(demo.admin, **SCREENS[screen])
    page = visitor.open(f"/devices/{device.pk}/")
    expect(page.locator("#device-week rect")).to_have_count(168)
    wide = page.evaluate(WIDE)
    shoot(visitor, f"device-week-{screen}")
    assert wide <= 0, f"{wide} px too wide"
