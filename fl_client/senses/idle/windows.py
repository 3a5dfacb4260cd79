"""Windows: the last input of this session, and what the session manager says about it."""

import ctypes
import os
import struct
import sys
from dataclasses import dataclass
from typing import Any

from fl_client.policy.facts import Session
from fl_client.senses.idle.reading import IdleBackend, Reading
from fl_client.senses.sense import Unknown

SESSION_INFO_EX = 25  # WTSSessionInfoEx
NO_SESSION = 0xFFFFFFFF
SERVICES = 0  # the session that services run in, which sees no input
STATE_ACTIVE = 0  # WTSActive
FLAG_LOCKED, FLAG_UNLOCKED = 0, 1  # WTS_SESSIONSTATE_LOCK and _UNLOCK, as of Windows 8
# DWORD Level, then a union that is aligned to eight bytes: ULONG SessionId, int SessionState, LONG
# SessionFlags, WCHAR WinStationName[33], WCHAR UserName[21], of which the first character is enough.
INFO_HEAD = struct.Struct("<I4xIii66xH")


@dataclass(frozen=True)
class Said:
    """What the system said. Ticks are milliseconds since it started, as 32 bits that wrap after 49 days."""

    tick: int
    last_input_tick: int
    own_session: int
    console_session: int  # NO_SESSION where nobody is attached to the screen
    info: bytes  # WTSINFOEXW of the own session, or of the console's for a service; empty without one


def reading(said: Said) -> Reading:
    state, session = _session(said.info)
    if said.own_session == SERVICES:
        return Reading(None, Session.NONE if said.console_session == NO_SESSION else session)
    if state != STATE_ACTIVE:
        # In the background of somebody else's session, whose input this one does not see.
        return Reading()
    return Reading(((said.tick - said.last_input_tick) & 0xFFFFFFFF) / 1000, session)


def _session(info: bytes) -> tuple[int | None, Session | None]:
    if len(info) < INFO_HEAD.size:
        return None, None
    level, _, state, flags, user = INFO_HEAD.unpack_from(info)
    if level != 1:
        return None, None
    # Nobody's name: the log-in page is on the screen.
    known = {FLAG_LOCKED: Session.LOCKED, FLAG_UNLOCKED: Session.ACTIVE}
    return state, known.get(flags) if user else Session.NONE


class Windows(IdleBackend):
    name = "windows"
    period = 0.5

    def read(self) -> Reading:
        if sys.platform != "win32":
            raise Unknown("this is not Windows")
        return reading(_ask(ctypes.WinDLL("user32"), ctypes.WinDLL("kernel32"), ctypes.WinDLL("wtsapi32")))


class _LastInput(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("tick", ctypes.c_uint)]


def _ask(user32: Any, kernel32: Any, wtsapi32: Any) -> Said:
    last = _LastInput(size=ctypes.sizeof(_LastInput))
    user32.GetLastInputInfo(ctypes.byref(last))
    own = ctypes.c_uint()
    kernel32.ProcessIdToSessionId(os.getpid(), ctypes.byref(own))
    for function in (kernel32.GetTickCount, kernel32.WTSGetActiveConsoleSessionId):
        function.restype = ctypes.c_uint
    console = kernel32.WTSGetActiveConsoleSessionId()
    wanted = console if own.value == SERVICES else own.value
    return Said(
        tick=kernel32.GetTickCount(),
        last_input_tick=last.tick,
        own_session=own.value,
        console_session=console,
        info=_info(wtsapi32, wanted) if wanted != NO_SESSION else b"",
    )


def _info(wtsapi32: Any, session: int) -> bytes:
    buffer, size = ctypes.c_void_p(), ctypes.c_uint()
    found = wtsapi32.WTSQuerySessionInformationW(
        None, ctypes.c_uint(session), SESSION_INFO_EX, ctypes.byref(buffer), ctypes.byref(size)
    )
    if not found or not buffer.value:
        return b""
    try:
        return ctypes.string_at(buffer.value, size.value)
    finally:
        wtsapi32.WTSFreeMemory(buffer)
