"""systemd's register of logins: every user's sessions, and whether a screen is locked."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fl_client.policy.facts import Session
from fl_client.senses.dbus import Bus
from fl_client.senses.idle.reading import IdleBackend, Reading

SERVICE = "org.freedesktop.login1"
GRAPHICAL = ("x11", "wayland", "mir")

Login = Mapping[str, Any]  # the properties of org.freedesktop.login1.Session


def reading(logins: Iterable[Login], now: float) -> Reading:
    """`now` is the time of day in seconds, as logind counts."""
    people = [each for each in logins if each["Class"].startswith("user") and each["State"] != "closing"]
    screens = [each for each in people if _has_screen(each)]
    # Somebody may be logged in while the screen shows a lock, or another session, as a log-in page.
    session = Session.LOCKED if screens else Session.NONE
    if any(each["Active"] and not each["LockedHint"] for each in screens):
        session = Session.ACTIVE
    seated = [each["User"][0] for each in screens if each["Active"] and each["Seat"][0]]
    return Reading(_idle(people, now), session, seated[0] if seated else None)


def _has_screen(login: Login) -> bool:
    """Its own seat, or a desktop that somebody uses from afar."""
    return bool(login["Seat"][0]) or login["Type"] in GRAPHICAL


def _idle(logins: Iterable[Login], now: float) -> float | None:
    """The shortest idle time; None as soon as one login that can be typed at does not tell its own."""
    shortest: float | None = None
    for login in logins:
        if login["Type"] in GRAPHICAL:
            switched_away = login["Seat"][0] and not login["Active"]
            if switched_away:
                continue
            idle = _idle_of_desktop(login, now)
        elif login["Type"] == "tty" and (login["TTY"] or login["Seat"][0]):
            # Of terminals logind tells when they were last typed at, whatever IdleHint says.
            idle = _since(login, now)
        else:
            continue
        if idle is None:
            return None
        shortest = idle if shortest is None else min(shortest, idle)
    return shortest


def _idle_of_desktop(login: Login, now: float) -> float | None:
    """GNOME sets the hint minutes after the last input and takes it back at the next; KDE never does."""
    since = _since(login, now)
    return since if since is None or login["IdleHint"] else 0.0


def _since(login: Login, now: float) -> float | None:
    microseconds = login["IdleSinceHint"]
    return max(0.0, now - microseconds / 1e6) if microseconds else None


class Logind(IdleBackend):
    name = "logind"
    period = 2.0

    def __init__(self, system_bus: Bus, *, clock: Callable[[], float] = time.time) -> None:
        self._bus = system_bus
        self._clock = clock
        self.terminals: tuple[str, ...] = ()

    def read(self) -> Reading:
        manager = ("/org/freedesktop/login1", f"{SERVICE}.Manager")
        sessions = self._bus.call(SERVICE, *manager, "ListSessions")[0]
        logins = [self._bus.get_all(SERVICE, path, f"{SERVICE}.Session") for *_, path in sessions]
        self.terminals = tuple(str(each["TTY"]) for each in logins if each["TTY"])
        return reading(logins, self._clock())
