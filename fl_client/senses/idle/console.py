"""Terminals: consoles, ssh, tmux. A machine without a desktop has nothing else.

What counts is when a terminal was last read from, which the kernel notes in steps of eight seconds. The
interrupts of the keyboard are not used: one on USB shares its interrupt with disks, and device nodes in
/dev/input keep no times.
"""

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

from fl_client.policy.facts import Session
from fl_client.senses.idle.reading import IdleBackend, Reading

DEVICES = "/dev"
TEXT_SCREEN = re.compile(r"tty\d+|ttyv\d+")
# "console" is how macOS calls its desktop.
GRAPHICAL_SCREEN = re.compile(r":\d+|seat\d+|console")


@dataclass(frozen=True)
class Terminal:
    name: str  # "tty1", "pts/3"; ":0" for a desktop
    typed_at: float | None  # time of day in seconds; None where it cannot be told


def reading(terminals: Iterable[Terminal], now: float) -> Reading:
    """The youngest terminal counts. Nothing is known beside a desktop, whose input shows nowhere here."""
    terminals = list(terminals)
    desktop = any(GRAPHICAL_SCREEN.fullmatch(each.name) for each in terminals)
    screen = desktop or any(TEXT_SCREEN.fullmatch(each.name) for each in terminals)
    times = [each.typed_at for each in terminals if each.typed_at is not None]
    idle = None if desktop or not times else max(0.0, now - max(times))
    return Reading(idle, Session.ACTIVE if screen else Session.NONE)


class Console(IdleBackend):
    name = "console"
    period = 2.0

    def __init__(
        self, *, also: Callable[[], Iterable[str]] = lambda: (), clock: Callable[[], float] = time.time
    ) -> None:
        """`also` names terminals that the system's list of users, which is empty on newer systems, lacks."""
        self._also = also
        self._clock = clock

    def read(self) -> Reading:
        names = {user.terminal for user in psutil.users() if user.terminal} | set(self._also())
        return reading([Terminal(name, _typed_at(name)) for name in sorted(names)], self._clock())


def _typed_at(name: str) -> float | None:
    try:
        return os.stat(f"{DEVICES}/{name}").st_atime
    except OSError:
        return None
