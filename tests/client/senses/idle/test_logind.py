from typing import Any

import pytest

from fl_client.policy.facts import Session
from fl_client.senses.dbus import PROPERTIES, Bus
from fl_client.senses.idle import logind
from fl_client.senses.idle.logind import SERVICE, Logind
from fl_client.senses.idle.reading import Reading
from tests.client.senses import buses
from tests.client.senses.buses import needs_dbus_daemon

NOW = 1_790_000_000.0
SEAT0 = ("seat0", "/org/freedesktop/login1/seat/seat0")
NO_SEAT = ("", "/")


def since(seconds: float) -> int:
    return int((NOW - seconds) * 1e6)


def login(**changes: Any) -> dict[str, Any]:
    """What logind says about somebody at a desktop; read with busctl, without what plays no part here."""
    gnome = {
        "User": (1000, "/org/freedesktop/login1/user/_1000"),
        "Seat": SEAT0,
        "TTY": "tty2",
        "Display": "",
        "Remote": False,
        "Type": "wayland",
        "Class": "user",
        "Active": True,
        "State": "active",
        "IdleHint": False,
        "IdleSinceHint": since(5000),
        "LockedHint": False,
    }
    return gnome | changes


KDE = {"IdleSinceHint": 0}
IDLE = {"IdleHint": True, "IdleSinceHint": since(700)}
AWAY = {"Active": False, "State": "online"}
SSH = login(Seat=NO_SEAT, TTY="pts/0", Type="tty", Remote=True, User=(1001, "/u"), IdleSinceHint=since(30))
GREETER = login(Class="greeter", User=(120, "/u"), TTY="tty1", IdleSinceHint=0)
TEXT = login(Type="tty", TTY="tty1", IdleSinceHint=since(90))


@pytest.mark.parametrize(
    ("logins", "expected"),
    [
        ([], Reading(None, Session.NONE)),
        ([GREETER], Reading(None, Session.NONE)),
        ([login()], Reading(0.0, Session.ACTIVE, 1000)),
        ([login(**IDLE)], Reading(700.0, Session.ACTIVE, 1000)),
        ([login(**IDLE, LockedHint=True)], Reading(700.0, Session.LOCKED, 1000)),
        ([login(**KDE)], Reading(None, Session.ACTIVE, 1000)),
        ([login(**KDE, LockedHint=True)], Reading(None, Session.LOCKED, 1000)),
        # Locked by showing the log-in page, or switched away from.
        ([login(**KDE, **AWAY), GREETER], Reading(None, Session.LOCKED)),
        ([login(**KDE, **AWAY), login(**IDLE, User=(1002, "/u"))], Reading(700.0, Session.ACTIVE, 1002)),
        ([TEXT], Reading(90.0, Session.ACTIVE, 1000)),
        # Nobody sits in front of a server that is used over ssh, but its keyboard is in use all the same.
        ([SSH], Reading(30.0, Session.NONE)),
        ([SSH, login(**IDLE)], Reading(30.0, Session.ACTIVE, 1000)),
        ([SSH, login(**KDE)], Reading(None, Session.ACTIVE, 1000)),
        # Copies of files, jobs, and what stays behind after a log-out.
        ([SSH | {"TTY": "", "IdleSinceHint": 0}], Reading(None, Session.NONE)),
        ([login(Type="unspecified", Seat=NO_SEAT, TTY="")], Reading(None, Session.NONE)),
        ([login(Class="background", Seat=NO_SEAT)], Reading(None, Session.NONE)),
        ([login(State="closing")], Reading(None, Session.NONE)),
        # A desktop used from afar.
        ([login(Type="x11", Seat=NO_SEAT, Remote=True, **IDLE)], Reading(700.0, Session.ACTIVE)),
    ],
)
def test_who_is_logged_in_and_since_when_nobody_typed(logins, expected):
    assert logind.reading(logins, NOW) == expected


def test_a_clock_that_was_set_back_makes_no_negative_time():
    assert logind.reading([login(IdleHint=True, IdleSinceHint=since(-60))], NOW).idle_seconds == 0.0


SIGNATURES = {"User": "(uo)", "Seat": "(so)", "IdleSinceHint": "t"}


def variant(name: str, value: Any) -> tuple[str, Any]:
    return SIGNATURES.get(name, "b" if isinstance(value, bool) else "s"), value


@needs_dbus_daemon
def test_logind_is_asked_over_the_bus(bus):
    person = login(**IDLE, User=(1000, "/org/freedesktop/login1/user/_1000"))
    path = "/org/freedesktop/login1/session/_32"
    answers = {
        ("/org/freedesktop/login1", f"{SERVICE}.Manager", "ListSessions"): (
            "a(susso)",
            [("2", 1000, "ann", "seat0", path)],
        ),
        (path, PROPERTIES, "GetAll", f"{SERVICE}.Session"): (
            "a{sv}",
            {name: variant(name, value) for name, value in person.items()},
        ),
    }
    asked = Logind(Bus(lambda: bus), clock=lambda: NOW)
    with buses.service(bus, SERVICE, answers):
        assert asked.read() == Reading(700.0, Session.ACTIVE, 1000)
    assert asked.terminals == ("tty2",)
