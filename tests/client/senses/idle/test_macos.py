import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fl_client.policy.facts import Session
from fl_client.senses.idle import macos
from fl_client.senses.idle.macos import LOCKED, ON_CONSOLE, MacOS
from fl_client.senses.idle.reading import Reading


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({ON_CONSOLE: True, LOCKED: False}, Reading(12.5, Session.ACTIVE)),
        ({ON_CONSOLE: True}, Reading(12.5, Session.ACTIVE)),
        ({ON_CONSOLE: True, LOCKED: True}, Reading(12.5, Session.LOCKED)),
        # Another user is in front, or the log-in window is.
        ({ON_CONSOLE: False, LOCKED: False}, Reading(12.5, None)),
        # Under ssh or as a daemon nothing is known of the desktop.
        (None, Reading()),
    ],
)
def test_the_window_server_tells_input_and_lock(session, expected):
    assert macos.reading(12.5, session) == expected


def function(answer: Any) -> Any:
    """Stands for one of a library, whose types can be set."""

    def answers(*arguments: Any) -> Any:
        return answer(*arguments) if callable(answer) else answer

    return answers


BOOLEAN, NUMBER = 21, 22
NAMES, VALUES = {LOCKED: 501, ON_CONSOLE: 502}, {501: 601, 502: 602}


def foundation(**kinds: int) -> SimpleNamespace:
    """CoreFoundation with a dictionary in which both flags are set, as booleans or as numbers."""

    def number(_: Any, __: Any, into: Any) -> None:
        into._obj.value = 1

    kind_of = {601: kinds["locked"], 602: kinds["console"]}
    return SimpleNamespace(
        CFStringCreateWithCString=function(lambda _, name, __: NAMES[name.decode()]),
        CFDictionaryGetValue=function(lambda _, name: VALUES[name.value]),
        CFRelease=function(None),
        CFGetTypeID=function(lambda value: kind_of[value.value]),
        CFBooleanGetTypeID=function(BOOLEAN),
        CFBooleanGetValue=function(1),
        CFNumberGetValue=function(number),
    )


@pytest.mark.parametrize("locked", [BOOLEAN, NUMBER])
def test_flags_are_read_as_booleans_and_as_numbers(locked):
    services = SimpleNamespace(CGSessionCopyCurrentDictionary=function(777))
    session = macos._session(services, foundation(locked=locked, console=BOOLEAN))
    assert session == {LOCKED: True, ON_CONSOLE: True}


def test_a_flag_that_is_absent_is_false():
    library = foundation(locked=BOOLEAN, console=BOOLEAN)
    library.CFDictionaryGetValue = function(None)
    assert macos._flag(library, 777, LOCKED) is False


def test_without_a_desktop_there_is_no_dictionary():
    services = SimpleNamespace(CGSessionCopyCurrentDictionary=function(None))
    assert macos._session(services, None) is None


@pytest.mark.skipif(sys.platform == "darwin", reason="this is macOS")
def test_elsewhere_the_reason_is_told():
    assert MacOS().probe() == "this is not macOS"
