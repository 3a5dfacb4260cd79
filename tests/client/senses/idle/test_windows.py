import ctypes
import struct
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fl_client.policy.facts import Session
from fl_client.senses.idle import windows
from fl_client.senses.idle.reading import Reading
from fl_client.senses.idle.windows import NO_SESSION, Said, Windows

ACTIVE, CONNECTED, DISCONNECTED = 0, 1, 4
LOCKED, UNLOCKED, NOT_TOLD = 0, 1, -1
OWN = 1


def info(state: int = ACTIVE, flags: int = UNLOCKED, user: str = "ann", level: int = 1) -> bytes:
    """A WTSINFOEXW, up to the times and counters at its end."""
    station, name, domain = (text.encode("utf-16-le") for text in ("Console", user, "CORP"))
    return struct.pack("<I4xIii66s42s36s", level, OWN, state, flags, station, name, domain) + bytes(70)


def said(**changes: Any) -> Said:
    usual = {
        "tick": 100_000,
        "last_input_tick": 97_500,
        "own_session": OWN,
        "console_session": OWN,
        "info": info(),
    }
    return Said(**usual | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Reading(2.5, Session.ACTIVE)),
        ({"info": info(flags=LOCKED)}, Reading(2.5, Session.LOCKED)),
        ({"info": info(flags=NOT_TOLD)}, Reading(2.5, None)),
        # Ticks wrap after 49 days.
        ({"tick": 500, "last_input_tick": 2**32 - 1500}, Reading(2.0, Session.ACTIVE)),
        # Another user's session is in front: its input is not seen from here.
        ({"info": info(state=DISCONNECTED)}, Reading()),
        ({"info": b""}, Reading()),
        ({"info": info(level=2)}, Reading()),
        # A service sees no input, but whether somebody is at the screen.
        ({"own_session": 0}, Reading(None, Session.ACTIVE)),
        ({"own_session": 0, "info": info(flags=LOCKED)}, Reading(None, Session.LOCKED)),
        ({"own_session": 0, "info": info(CONNECTED, NOT_TOLD, user="")}, Reading(None, Session.NONE)),
        ({"own_session": 0, "console_session": NO_SESSION, "info": b""}, Reading(None, Session.NONE)),
    ],
)
def test_ticks_and_session_are_read(changes, expected):
    assert windows.reading(said(**changes)) == expected


class Function:
    """Stands for one of a library, whose types can be set."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


class Libraries:
    """The parts of Windows that are asked, with what they say."""

    def __init__(self, own: int, console: int) -> None:
        self.freed = 0
        self.wanted: list[int] = []
        self._buffer = ctypes.create_string_buffer(info(), len(info()))

        def last_input(into: Any) -> int:
            assert into._obj.size == 8
            into._obj.tick = 97_500
            return 1

        def own_session(_: int, into: Any) -> int:
            into._obj.value = own
            return 1

        def query(_: None, session: Any, kind: int, into: Any, size: Any) -> int:
            assert kind == windows.SESSION_INFO_EX
            self.wanted.append(session.value)
            into._obj.value, size._obj.value = ctypes.addressof(self._buffer), len(self._buffer)
            return 1

        def free(_: Any) -> None:
            self.freed += 1

        self.user32 = SimpleNamespace(GetLastInputInfo=Function(last_input))
        self.kernel32 = SimpleNamespace(
            ProcessIdToSessionId=Function(own_session),
            GetTickCount=Function(lambda: 100_000),
            WTSGetActiveConsoleSessionId=Function(lambda: console),
        )
        self.wtsapi32 = SimpleNamespace(
            WTSQuerySessionInformationW=Function(query), WTSFreeMemory=Function(free)
        )


@pytest.mark.parametrize(
    ("own", "console", "wanted"), [(3, 3, [3]), (3, 5, [3]), (0, 5, [5]), (0, NO_SESSION, [])]
)
def test_a_service_asks_about_the_session_at_the_screen(own, console, wanted):
    libraries = Libraries(own, console)
    asked = windows._ask(libraries.user32, libraries.kernel32, libraries.wtsapi32)
    assert libraries.wanted == wanted
    assert libraries.freed == len(wanted)
    expected = said(own_session=own, console_session=console, info=info() if wanted else b"")
    assert asked == expected


@pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")
def test_elsewhere_the_reason_is_told():
    assert Windows().probe() == "this is not Windows"
