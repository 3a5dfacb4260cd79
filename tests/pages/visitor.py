"""People at the pages: with Django's test client, or with a real browser's window."""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.test import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 8000  # milliseconds


def browser(user: Any = None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


class Visitor:
    """A browser's window that notes every complaint of the page."""

    def __init__(self, chromium: "Browser", site: str, user: Any = None, **options: Any) -> None:
        self.context = chromium.new_context(base_url=site, **options)
        if user is not None:
            value = browser(user).cookies[settings.SESSION_COOKIE_NAME].value
            self.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": site}])
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str, *, live: bool = True) -> "Page":
        self.page.goto(path)
        if live:
            self.page.wait_for_selector('[data-link][data-state="live"]')
        return self.page

    def never_reloads(self) -> None:
        """From here on a reload loses the mark that `was_reloaded` looks for."""
        self.page.evaluate("window.sameDocument = true")

    def was_reloaded(self) -> bool:
        return not self.page.evaluate("window.sameDocument === true")
