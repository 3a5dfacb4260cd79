"""macOS: the window server knows the last event of keyboard and mouse, and whether the screen is locked."""

import ctypes
import sys
from collections.abc import Mapping
from typing import Any

from fl_client.policy.facts import Session
from fl_client.senses.idle.reading import IdleBackend, Reading
from fl_client.senses.sense import Unknown

FRAMEWORKS = "/System/Library/Frameworks"
HARDWARE_EVENTS = 1  # kCGEventSourceStateHIDSystemState: what programs synthesise does not count
ANY_INPUT = 0xFFFFFFFF  # kCGAnyInputEventType
UTF8 = 0x08000100  # kCFStringEncodingUTF8
INT = 9  # kCFNumberIntType
LOCKED = "CGSSessionScreenIsLocked"  # absent while it is not locked
ON_CONSOLE = "kCGSSessionOnConsoleKey"


def reading(idle_seconds: float, session: Mapping[str, bool] | None) -> Reading:
    """`session` is None for a process outside every desktop, as under ssh: it cannot see who sits there.

    Nor can one whose user is in the background of another, though it sees the input of the whole machine.
    """
    if session is None:
        return Reading()
    if session.get(LOCKED, False):
        return Reading(idle_seconds, Session.LOCKED)
    return Reading(idle_seconds, Session.ACTIVE if session.get(ON_CONSOLE, False) else None)


class MacOS(IdleBackend):
    name = "macos"
    period = 0.5

    def read(self) -> Reading:
        if sys.platform != "darwin":
            raise Unknown("this is not macOS")
        try:
            services = ctypes.CDLL(f"{FRAMEWORKS}/ApplicationServices.framework/ApplicationServices")
            foundation = ctypes.CDLL(f"{FRAMEWORKS}/CoreFoundation.framework/CoreFoundation")
        except OSError as exc:
            raise Unknown(f"the frameworks of macOS cannot be loaded: {exc}") from exc
        seconds = services.CGEventSourceSecondsSinceLastEventType
        seconds.restype = ctypes.c_double
        seconds.argtypes = (ctypes.c_int32, ctypes.c_uint32)
        return reading(seconds(HARDWARE_EVENTS, ANY_INPUT), _session(services, foundation))


def _session(services: Any, foundation: Any) -> dict[str, bool] | None:
    services.CGSessionCopyCurrentDictionary.restype = ctypes.c_void_p
    dictionary = services.CGSessionCopyCurrentDictionary()
    if not dictionary:
        return None
    try:
        return {key: _flag(foundation, dictionary, key) for key in (LOCKED, ON_CONSOLE)}
    finally:
        foundation.CFRelease(ctypes.c_void_p(dictionary))


def _flag(foundation: Any, dictionary: int, key: str) -> bool:
    """A boolean out of a dictionary, where macOS stores some as numbers; false where there is none."""
    foundation.CFStringCreateWithCString.restype = ctypes.c_void_p
    foundation.CFDictionaryGetValue.restype = ctypes.c_void_p
    name = ctypes.c_void_p(foundation.CFStringCreateWithCString(None, key.encode(), UTF8))
    value = ctypes.c_void_p(foundation.CFDictionaryGetValue(ctypes.c_void_p(dictionary), name))
    foundation.CFRelease(name)
    if not value:
        return False
    foundation.CFGetTypeID.restype = foundation.CFBooleanGetTypeID.restype = ctypes.c_ulong
    if foundation.CFGetTypeID(value) == foundation.CFBooleanGetTypeID():
        foundation.CFBooleanGetValue.restype = ctypes.c_ubyte
        return bool(foundation.CFBooleanGetValue(value))
    number = ctypes.c_int()
    foundation.CFNumberGetValue(value, ctypes.c_long(INT), ctypes.byref(number))
    return bool(number.value)
