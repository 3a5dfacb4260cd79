import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.pages.demo import Demo
from tests.pages.served import served
from tests.pages.visitor import Visitor
from tests.server.world import world

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["world"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """Playwright keeps an event loop running in this thread, which Django must be told to bear."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("CONSTELLATION_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is on PATH; CONSTELLATION_CHROMIUM may name one")
    with pytest.MonkeyPatch.context() as patch, playwright.sync_playwright() as driver:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = driver.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def demo(chromium: "Browser", transactional_db: None) -> Demo:
    return Demo()


@pytest.fixture
def site(demo: Demo) -> Iterator[str]:
    with served() as address:
        yield address


@pytest.fixture
def visit(chromium: "Browser", site: str) -> Iterator[Callable[..., Visitor]]:
    """Opens windows; each page must have kept quiet on its console."""
    visitors: list[Visitor] = []

    def open_window(user: Any = None, **options: Any) -> Visitor:
        visitors.append(Visitor(chromium, site, user, **options))
        return visitors[-1]

    yield open_window
    complaints = [complaint for visitor in visitors for complaint in visitor.complaints]
    for visitor in visitors:
        visitor.context.close()
    assert complaints == []
