"""Wayland compositors that speak ext-idle-notify-v1: KWin, Sway, Hyprland, Cosmic, niri and others.

The protocol tells no idle time, only that input stopped a while ago and that it is back; the time between is
ours to count. KWin answers nothing else on Wayland: its GetSessionIdleTime is not supported there.
"""

import struct
import time
from collections.abc import Callable, Iterable

from fl_client.policy.facts import Session
from fl_client.senses.desktop import Desktop
from fl_client.senses.idle import wayland_wire as wire
from fl_client.senses.idle.reading import IdleBackend, Reading
from fl_client.senses.sense import Unknown

SECONDS = 0.5
NOTIFIER_INTERFACE = "ext_idle_notifier_v1"
# After so much quiet the compositor says that input stopped.
QUIET_MILLISECONDS = 1000


def quiet_since(before: float | None, events: Iterable[wire.Event], now: float) -> float | None:
    """The moment of the last input, by the clock of `now`; None while somebody is typing.

    An event is dated when it is read, so the time since the last input may be told too short by one look,
    never too long.
    """
    for event in events:
        if event.sender == wire.NOTIFICATION:
            before = now - QUIET_MILLISECONDS / 1000 if event.opcode == wire.IDLED else None
    return before


class Wayland(IdleBackend):
    name = "wayland"
    period = 0.0

    def __init__(
        self,
        desktop: Callable[[], Desktop],
        *,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desktop = desktop
        self._seconds = seconds
        self._clock = clock
        self._compositor: wire.Compositor | None = None
        self._quiet_since: float | None = None

    def read(self) -> Reading:
        try:
            compositor = self._compositor or self._open(time.monotonic() + self._seconds)
            now = self._clock()
            self._quiet_since = quiet_since(self._quiet_since, compositor.arrived(), now)
        except (OSError, struct.error, ValueError) as exc:
            self._close()
            raise Unknown(f"the Wayland compositor cannot be asked: {exc}") from exc
        idle = 0.0 if self._quiet_since is None else now - self._quiet_since
        return Reading(idle, Session.ACTIVE)

    def _open(self, until: float) -> wire.Compositor:
        path = self._desktop().wayland
        if not path:
            raise Unknown("no Wayland compositor of this user was found")
        self._compositor = compositor = wire.Compositor(path, until)
        offers = compositor.globals(until)
        if not {NOTIFIER_INTERFACE, "wl_seat"} <= offers.keys():
            self._close()
            raise Unknown(f"the Wayland compositor does not offer {NOTIFIER_INTERFACE}")
        notifier = offers[NOTIFIER_INTERFACE]
        version = min(notifier.version, 2)
        requests = (
            wire.bind(offers["wl_seat"], 1, wire.SEAT),
            wire.bind(notifier, version, wire.NOTIFIER),
            wire.notify(version, QUIET_MILLISECONDS),
        )
        compositor.send(b"".join(requests), until)
        return compositor

    def _close(self) -> None:
        self._quiet_since = None
        if self._compositor is not None:
            self._compositor.close()
            self._compositor = None
