"""Who may see the page: whoever can read the home, since only its owner can.

A ticket is made from the home's token by the command line and shown to the page. It is good for one use, for
one purpose, at one port, for a minute; so neither a browser's history nor another program that took over the
port learns anything of use. The token itself is never sent.
"""

import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256

from fl_client import home as files
from fl_client.home import Home

GOOD_FOR = 60.0  # seconds
COOKIE_GOOD_FOR = 12 * 3600.0
ENTER = "enter"
COOKIE = "cookie"


@dataclass(frozen=True)
class Door:
    """Where the page is, and the secret behind its tickets."""

    token: str
    port: int = 0

    def save(self, home: Home) -> "Door":
        home.write(files.PAGE, json.dumps(asdict(self)).encode())
        return self

    def ticket(self, purpose: str) -> str:
        return self.sealed(purpose, int(time.time() + GOOD_FOR))

    def cookie(self) -> str:
        return self.sealed(COOKIE, int(time.time() + COOKIE_GOOD_FOR))

    def sealed(self, purpose: str, until: int) -> str:
        nonce = secrets.token_urlsafe(12)
        return f"{until}.{nonce}.{self._seal(purpose, str(until), nonce)}"

    def fits(self, purpose: str, text: str, now: float) -> bool:
        """Whether it was made for this, from this token, and its time is not over."""
        until, nonce, seal = (*text.split(".", 2), "", "")[:3]
        if not until.isascii() or not until.isdigit() or len(until) > 15:
            return False
        good = hmac.compare_digest(self._seal(purpose, until, nonce).encode(), seal.encode())
        return good and now < int(until)

    def _seal(self, purpose: str, until: str, nonce: str) -> str:
        text = f"{self.port}\n{purpose}\n{until}\n{nonce}"
        return hmac.new(self.token.encode(), text.encode("utf-8", "replace"), sha256).hexdigest()


def find(home: Home) -> Door | None:
    """The door of a page that ran last; None when there was none, or its file is damaged."""
    try:
        stored = json.loads(home.read(files.PAGE) or b"")
        return Door(str(stored["token"]), int(stored["port"]))
    except (ValueError, KeyError, TypeError):
        return None


def find_or_make(home: Home) -> Door:
    found = find(home)
    return found if found and len(found.token) >= 43 else Door(secrets.token_urlsafe(32))


class Once:
    """Takes each ticket one time."""

    def __init__(self, door: Door, clock: Callable[[], float] = time.time) -> None:
        self._door = door
        self._clock = clock
        self._used: dict[str, float] = {}

    def admits(self, purpose: str, ticket: str) -> bool:
        now = self._clock()
        self._used = {used: until for used, until in self._used.items() if until > now}
        if not self._door.fits(purpose, ticket, now) or ticket in self._used:
            return False
        self._used[ticket] = now + GOOD_FOR
        return True
