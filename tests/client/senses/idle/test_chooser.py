from typing import Any

import pytest

from fl_client.policy.facts import Session
from fl_client.senses.idle import chooser
from fl_client.senses.idle.chooser import BackendRow, Backends, Idle
from fl_client.senses.idle.reading import IdleBackend, Reading
from fl_client.senses.sense import Unknown

ME, OTHER = 1000, 1002
ABSENT = Unknown("not here")


class Fixed(IdleBackend):
    """Says always the same, or fails so."""

    def __init__(self, name: str, says: Reading | Exception, period: float = 0.0) -> None:
        self.name = name
        self.period = period
        self.says = says
        self.asked = 0

    def read(self) -> Reading:
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def idle(clock: Any = None, **says: Reading | Exception) -> Idle:
    """The backends of Linux with what they say; those not named are absent."""
    named = {
        name: Fixed(name, says.get(name, ABSENT)) for name in ("mutter", "x11", "saver", "logind", "console")
    }
    backends = Backends(
        screens=(named["mutter"], named["x11"], named["saver"]),
        lockers=(named["saver"],),
        logins=(named["logind"],),
        terminals=(named["console"],),
    )
    return Idle(backends, user=ME, clock=clock or Clock())


MINE = Reading(None, Session.ACTIVE, ME)


@pytest.mark.parametrize(
    ("says", "seconds", "session"),
    [
        # The best screen that knows.
        ({"mutter": Reading(10.0), "x11": Reading(20.0), "logind": MINE}, 10.0, Session.ACTIVE),
        ({"x11": Reading(20.0), "saver": Reading(30.0), "logind": MINE}, 20.0, Session.ACTIVE),
        ({"mutter": Reading(), "saver": Reading(30.0, Session.ACTIVE), "logind": MINE}, 30.0, Session.ACTIVE),
        # Without one the register counts, where it knows; the terminals alone are not enough beside it.
        ({"logind": Reading(700.0, Session.ACTIVE, ME)}, 700.0, Session.ACTIVE),
        ({"logind": MINE, "console": Reading(900.0, Session.NONE)}, None, Session.ACTIVE),
        ({"console": Reading(900.0, Session.NONE)}, 900.0, Session.NONE),
        # Somebody types over ssh.
        ({"mutter": Reading(5000.0), "console": Reading(4.0), "logind": MINE}, 4.0, Session.ACTIVE),
        ({"mutter": Reading(3.0), "console": Reading(4000.0), "logind": MINE}, 3.0, Session.ACTIVE),
        # Some lockers do not tell the register.
        (
            {"mutter": Reading(9.0), "saver": Reading(None, Session.LOCKED), "logind": MINE},
            9.0,
            Session.LOCKED,
        ),
        ({"x11": Reading(9.0), "logind": Reading(None, Session.LOCKED, ME)}, 9.0, Session.LOCKED),
        # A desktop runs although the list of users is empty.
        ({"x11": Reading(9.0, Session.ACTIVE), "console": Reading(None, Session.NONE)}, 9.0, Session.ACTIVE),
    ],
)
def test_who_is_believed(says, seconds, session):
    told = idle(**says).read()
    assert (told.idle_seconds, told.session) == (seconds, session)


def test_the_own_desktop_says_nothing_while_another_users_is_in_front():
    asked = idle(
        mutter=Reading(5000.0),
        saver=Reading(None, Session.LOCKED),
        logind=Reading(2.0, Session.ACTIVE, OTHER),
    )
    assert asked.read() == Reading(2.0, Session.ACTIVE, OTHER)


def test_a_register_that_stops_answering_is_not_replaced_by_the_terminals():
    clock = Clock()
    asked = idle(clock, logind=MINE, console=Reading(9000.0, Session.NONE))
    asked.read()
    (logind,) = asked._backends.logins
    logind.says = ABSENT
    clock.now += 1
    with pytest.raises(Unknown, match="none of mutter, x11, saver, logind, console"):
        asked.read()


def test_nothing_at_all_is_unknown():
    with pytest.raises(Unknown, match="can be used here"):
        idle().read()


def test_the_source_names_those_that_answered():
    asked = idle(x11=Reading(20.0), saver=Reading(None, Session.ACTIVE), logind=MINE)
    asked.read()
    assert asked.source == "x11, logind, saver"


def test_one_that_failed_rests_and_one_that_breaks_does_not_blind_the_others():
    clock = Clock()
    asked = idle(clock, mutter=ValueError("broken"), x11=Reading(20.0))
    mutter = asked._backends.screens[0]
    for _ in range(5):
        assert asked.read().idle_seconds == 20.0
        clock.now += 1
    assert mutter.asked == 1
    mutter.says = Reading(10.0)
    clock.now += chooser.REST_SECONDS
    assert asked.read().idle_seconds == 10.0


def test_a_reading_that_is_kept_grows_older():
    clock = Clock()
    slow = Fixed("slow", Reading(100.0), period=2.0)
    asked = Idle(Backends(screens=(slow,)), user=ME, clock=clock)
    told = []
    for _ in range(3):
        told.append(asked.read().idle_seconds)
        clock.now += 1
    assert told == [100.0, 101.0, 100.0]
    assert slow.asked == 2


def test_every_backend_is_described_once():
    asked = idle(x11=Reading(20.0), saver=OSError(5, "broken"))
    rows = asked.describe()
    assert [row.name for row in rows] == ["mutter", "x11", "saver", "logind", "console"]
    assert rows[0] == BackendRow("mutter", False, "not here", Reading())
    assert rows[1] == BackendRow("x11", True, "", Reading(20.0))
    assert "broken" in rows[2].why


@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("Linux", ["mutter", "wayland", "x11", "freedesktop", "logind", "console"]),
        ("Darwin", ["macos", "console"]),
        ("Windows", ["windows"]),
    ],
)
def test_each_system_has_its_backends_in_the_order_in_which_they_are_believed(system, names):
    assert [each.name for each in chooser.backends(system)] == names


def test_this_machine_can_be_described():
    rows = chooser.choose().describe()
    assert rows
    assert all(row.available or row.why for row in rows)
