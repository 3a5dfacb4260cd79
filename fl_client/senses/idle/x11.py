"""X servers: the screen saver extension knows when the last key was pressed."""

import struct
import time
from collections.abc import Callable

from fl_client.policy.facts import Session
from fl_client.senses.desktop import Desktop
from fl_client.senses.idle import x11_wire as wire
from fl_client.senses.idle.reading import IdleBackend, Reading
from fl_client.senses.sense import Unknown

SECONDS = 0.5


def reading(milliseconds: int) -> Reading:
    """Somebody's desktop runs. A blank screen may be locked or not: X does not know."""
    return Reading(milliseconds / 1000, Session.ACTIVE)


class X11(IdleBackend):
    name = "x11"
    period = 0.0

    def __init__(self, desktop: Callable[[], Desktop], *, seconds: float = SECONDS) -> None:
        self._desktop = desktop
        self._seconds = seconds
        self._display: wire.Display | None = None
        self._saver = 0

    def read(self) -> Reading:
        until = time.monotonic() + self._seconds
        try:
            display = self._display or self._open(until)
            reply = display.ask(wire.query_saver(self._saver, display.root), until)
            return reading(wire.idle_milliseconds(reply))
        except (OSError, struct.error, IndexError) as exc:
            self._close()
            raise Unknown(f"the X server cannot be asked: {exc}") from exc

    def _open(self, until: float) -> wire.Display:
        desktop = self._desktop()
        if desktop.wayland:
            raise Unknown("on Wayland an X server sees only what happens in its own windows")
        if not desktop.display:
            raise Unknown("no X display of this user was found")
        self._display = wire.Display(desktop.display, desktop.xauthority, until)
        if self._opcode(self._display, b"XWAYLAND", until):
            self._close()
            raise Unknown(f"{desktop.display} is Xwayland, which sees only what happens in its own windows")
        self._saver = self._opcode(self._display, b"MIT-SCREEN-SAVER", until)
        if not self._saver:
            self._close()
            raise Unknown(f"the X server {desktop.display} has no screen saver extension")
        return self._display

    def _opcode(self, display: wire.Display, extension: bytes, until: float) -> int:
        return wire.extension_opcode(display.ask(wire.query_extension(extension), until))

    def _close(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None
