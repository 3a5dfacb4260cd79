"""The owner's page of a real, enrolled, running client, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fl_client.home import Home
from fl_client.owner import saved_rules
from fl_client.policy.rules import Rules
from fl_server.models import Device
from tests.client.platform import Platform, command, finished, platform
from tests.waiting import until

__all__ = ["platform"]
pytestmark = [pytest.mark.browser, pytest.mark.services]
PHONE = {"width": 390, "height": 800}


@pytest.fixture
def home(platform: Platform, tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    code, said = finished(command(home, "enrol", platform.code(), "--name", "desk"))
    assert code == 0, said
    agent = command(home, "run")
    until(lambda: Device.objects.get().last_seen is not None, "the agent connected")
    yield home
    agent.terminate()
    finished(agent)


def opened(chromium: Any, home: Path, **options: Any) -> tuple[Any, list[str]]:
    """The page as `constellation page` opens it, and what the browser complains about."""
    code, address = finished(command(home, "page", "--print"))
    assert code == 0, address
    page = chromium.new_context(**options).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address.strip())
    return page, complaints


def test_the_owner_pauses_sets_rules_and_leaves(chromium: Any, home: Path) -> None:
    page, complaints = opened(chromium, home)
    assert page.url.count("/") == 3
    assert "key=" not in page.url
    page.get_by_role("button", name="Until I say").click()
    page.get_by_text("You paused this machine until you say otherwise").wait_for()
    until(lambda: Device.objects.get().presence == "paused", "the platform knows of the pause")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Until I say").wait_for()

    page.locator("#idle_minutes").fill("45")
    page.get_by_text("Trains when nobody has used this machine for 45 minutes").wait_for()
    page.get_by_role("button", name="Save my rules").click()
    page.get_by_text("Your rules are saved").wait_for()
    assert saved_rules(Home(home)) == Rules(idle_minutes=45)
    until(lambda: Device.objects.get().owner_rules == {"idle_minutes": 45}, "the platform knows the rules")

    page.get_by_role("link", name="Leave the platform").click()
    page.get_by_role("button", name="Leave for good").click()
    page.get_by_text("desk left").wait_for()
    assert Device.objects.get().status == "revoked"
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_themes(chromium: Any, home: Path, scheme: str, tmp_path: Path) -> None:
    page, complaints = opened(chromium, home, viewport=PHONE, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert complaints == []
