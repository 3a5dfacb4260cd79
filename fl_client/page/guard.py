"""Nobody but the owner's browser and command line reaches the page.

A web page of somebody else's may make the browser send requests here. Its name may even resolve to 127.0.0.1
(DNS rebinding), so Host must name this page, and what changes something must come from this page (Origin).
"""

import time
from collections import deque
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fl_client.page.tickets import COOKIE, Door, Once

COOKIE_NAME = "constellation_page"
BY_TICKET = "/api/"
ENTER_FAILURES, ENTER_SECONDS = 10, 60.0
# Nothing private, and still needed when the agent ended while the page says goodbye.
STATIC, STATIC_CACHE = "/static/", "private, max-age=600"
OPEN = ("/enter", STATIC)  # without a cookie
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # With no-referrer a browser would send no Origin with a form either.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class Guard:
    def __init__(
        self, app: ASGIApp, door: Door, locked: Callable[[], Response], once: Once | None = None
    ) -> None:
        """`locked` makes the answer for a browser that did not come with a ticket."""
        self._app = app
        self._door = door
        self._locked = locked
        self._once = once or Once(door)
        self._hosts = {f"{name}:{door.port}" for name in ("127.0.0.1", "localhost")}
        self._failures: deque[float] = deque(maxlen=ENTER_FAILURES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        app = self._refusal(request) or (self._enter(request) if request.url.path == "/enter" else self._app)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if request.url.path.startswith(STATIC):
                    headers["cache-control"] = STATIC_CACHE
            await send(message)

        await app(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.getlist("host") != [host := request.headers.get("host", "")]:
            return PlainTextResponse("One Host, please.", 400)
        if host not in self._hosts:
            return PlainTextResponse("This page has another address.", 421)
        if request.method not in ("GET", "HEAD") and not self._is_ours(request.headers.getlist("origin")):
            return PlainTextResponse("This request comes from another page.", 403)
        path = request.url.path
        if path.startswith(OPEN) or self._knows(request.cookies.get(COOKIE_NAME, "")):
            return None
        scheme, _, ticket = request.headers.get("authorization", "").partition(" ")
        if path.startswith(BY_TICKET) and scheme == "Ticket" and self._once.admits(path, ticket):
            return None
        return self._locked()

    def _is_ours(self, origins: list[str]) -> bool:
        return len(origins) == 1 and origins[0] in {f"http://{host}" for host in self._hosts}

    def _knows(self, cookie: str) -> bool:
        return self._door.fits(COOKIE, cookie, time.time())

    def _enter(self, request: Request) -> Response:
        """A ticket becomes a cookie, and leaves the address."""
        now = time.monotonic()
        if len(self._failures) == ENTER_FAILURES and now - self._failures[0] < ENTER_SECONDS:
            return PlainTextResponse("Too many attempts; wait a minute.", 429)
        if not self._once.admits("enter", request.query_params.get("key", "")):
            self._failures.append(now)
            return self._locked()
        answer = Response(status_code=303, headers={"location": "/"})
        answer.set_cookie(COOKIE_NAME, self._door.cookie(), httponly=True, samesite="strict", path="/")
        return answer
