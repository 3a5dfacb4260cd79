"""Which backends are asked on this system, and who is believed.

The idle time comes from the first screen backend that knows it, in the order of `backends`; without one, from
the register of logins, and where there is none, from the terminals. A terminal that was typed at later
(somebody works over ssh) shortens it. The session is locked if one backend says so, else active if one says
so. Where another user's session is in front, this user's desktop says nothing about the machine.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from fl_client.policy.facts import Session
from fl_client.senses import desktop
from fl_client.senses.dbus import Bus, system_bus
from fl_client.senses.idle.console import Console
from fl_client.senses.idle.freedesktop import Freedesktop
from fl_client.senses.idle.logind import Logind
from fl_client.senses.idle.macos import MacOS
from fl_client.senses.idle.mutter import Mutter
from fl_client.senses.idle.reading import IdleBackend, Reading
from fl_client.senses.idle.wayland import Wayland
from fl_client.senses.idle.windows import Windows
from fl_client.senses.idle.x11 import X11
from fl_client.senses.sense import Sense, Unknown

# A backend that failed is left alone for so long: one that hangs costs its deadline at each try.
REST_SECONDS = 30.0
# To look for the desktop is to look through all processes.
DESKTOP_SECONDS = 60.0
STRONGEST = (Session.LOCKED, Session.ACTIVE, Session.NONE)


@dataclass(frozen=True)
class Backends:
    screens: tuple[IdleBackend, ...] = ()  # know the input of this user's desktop; the best first
    lockers: tuple[IdleBackend, ...] = ()  # know whether this user's screen is locked
    logins: tuple[IdleBackend, ...] = ()  # know who is logged in
    terminals: tuple[IdleBackend, ...] = ()

    def __iter__(self) -> Iterator[IdleBackend]:
        return iter(dict.fromkeys((*self.screens, *self.lockers, *self.logins, *self.terminals)))


@dataclass(frozen=True)
class BackendRow:
    """A line for `constellation doctor`."""

    name: str
    available: bool
    why: str  # it is not; empty when it is
    reading: Reading


def choose() -> "Idle":
    return Idle(backends(platform.system()), user=None if sys.platform == "win32" else os.getuid())


def backends(system: str) -> Backends:
    if system == "Windows":
        windows = (Windows(),)
        return Backends(screens=windows, lockers=windows)
    if system == "Darwin":
        macos = (MacOS(),)
        return Backends(screens=macos, lockers=macos, terminals=(Console(),))
    found = Sense("desktop", "", desktop.find, desktop.Desktop(), period=DESKTOP_SECONDS)

    def here() -> desktop.Desktop:
        return found.value(time.monotonic())

    session_bus = Bus(lambda: here().session_bus)
    logind = Logind(Bus(system_bus))
    saver = Freedesktop(session_bus, here)
    return Backends(
        screens=(Mutter(session_bus), Wayland(here), X11(here), saver),
        lockers=(saver,),
        logins=(logind,),
        terminals=(Console(also=lambda: logind.terminals),),
    )


class Idle:
    """What the backends say together."""

    def __init__(
        self, backends: Backends, *, user: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.source = ""  # the backends that the last reading came from
        self._has_register = False
        self._backends = backends
        self._user = user
        self._clock = clock
        # One that breaks must not blind the others.
        self._senses = {each.name: _sense(each) for each in backends}

    def read(self) -> Reading:
        now = self._clock()
        logins = self._readings(self._backends.logins, now)
        terminals = self._readings(self._backends.terminals, now)
        fronts = [each.user for each in logins.values() if each.user is not None]
        in_front = self._user is None or not fronts or self._user in fronts
        screens = self._first_that_knows(self._backends.screens if in_front else (), now)
        lockers = self._readings(self._backends.lockers if in_front else (), now)

        self._has_register = self._has_register or bool(logins)
        # Where logins are registered, terminals do not show all of them and are not believed alone.
        alone = {} if self._has_register else terminals
        idle = _idle(screens or logins or alone, terminals)
        session = _session((*screens.values(), *logins.values(), *lockers.values(), *alone.values()))
        if idle is None and session is None:
            raise Unknown("none of " + ", ".join(each.name for each in self._backends) + " can be used here")
        self.source = ", ".join(dict.fromkeys((*screens, *logins, *lockers, *terminals)))
        return Reading(idle, session, fronts[0] if fronts else None)

    def describe(self) -> list[BackendRow]:
        """Asks every backend anew, those that rest too."""
        return [_row(backend) for backend in self._backends]

    def _readings(self, wanted: Iterable[IdleBackend], now: float) -> dict[str, Reading]:
        looks = {each.name: self._look(each, now) for each in wanted}
        return {name: reading for name, reading in looks.items() if reading is not None}

    def _first_that_knows(self, screens: Iterable[IdleBackend], now: float) -> dict[str, Reading]:
        for backend in screens:
            reading = self._look(backend, now)
            if reading is not None and reading.idle_seconds is not None:
                return {backend.name: reading}
        return {}

    def _look(self, backend: IdleBackend, now: float) -> Reading | None:
        """The backend's reading, grown older since; None while it is of no use."""
        sense = self._senses[backend.name]
        reading = sense.value(now)
        if reading is None or reading.idle_seconds is None:
            return reading
        return replace(reading, idle_seconds=reading.idle_seconds + sense.age(now))


def _sense(backend: IdleBackend) -> Sense[Reading | None]:
    return Sense(
        f"idle by {backend.name}",
        backend.name,
        backend.read,
        None,
        period=backend.period,
        rest=REST_SECONDS,
    )


def _idle(best: dict[str, Reading], terminals: dict[str, Reading]) -> float | None:
    known = [each.idle_seconds for each in best.values() if each.idle_seconds is not None]
    if not known:
        return None
    return min(known + [each.idle_seconds for each in terminals.values() if each.idle_seconds is not None])


def _session(readings: Iterable[Reading]) -> Session | None:
    told = {each.session for each in readings}
    return next((session for session in STRONGEST if session in told), None)


def _row(backend: IdleBackend) -> BackendRow:
    sense = _sense(backend)
    reading = sense.value(0.0)
    return BackendRow(backend.name, not sense.why, sense.why, reading or Reading())
