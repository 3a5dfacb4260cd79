"""The desktop's screen saver service: locked or not, and on X also how long nobody touched the machine."""

from collections.abc import Callable
from dataclasses import dataclass

from fl_client.policy.facts import Session
from fl_client.senses.dbus import Bus
from fl_client.senses.desktop import Desktop
from fl_client.senses.idle.reading import IdleBackend, Reading
from fl_client.senses.sense import Unknown


@dataclass(frozen=True)
class Saver:
    service: str
    path: str
    idle_unit: float | None  # seconds; None where the service tells no idle time


# The specification names neither GetActive nor a unit. KDE counts milliseconds since Plasma 5; the forks of
# GNOME's old screen saver count seconds. Another owner of the first name may count seconds too: then its idle
# time is told too short, which only means that this machine is not lent.
SAVERS = (
    Saver("org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver", 0.001),
    Saver("org.gnome.ScreenSaver", "/org/gnome/ScreenSaver", None),
    Saver("org.cinnamon.ScreenSaver", "/org/cinnamon/ScreenSaver", None),
    Saver("org.mate.ScreenSaver", "/org/mate/ScreenSaver", 1.0),
    Saver("org.xfce.ScreenSaver", "/org/xfce/ScreenSaver", 1.0),
)


def reading(active: bool, idle: int | None, unit: float | None) -> Reading:
    seconds = None if idle is None or unit is None else idle * unit
    return Reading(seconds, Session.LOCKED if active else Session.ACTIVE)


class Freedesktop(IdleBackend):
    name = "freedesktop"
    period = 2.0

    def __init__(self, session_bus: Bus, desktop: Callable[[], Desktop]) -> None:
        self._bus = session_bus
        self._desktop = desktop
        self._saver: Saver | None = None

    def read(self) -> Reading:
        for saver in (self._saver,) if self._saver else SAVERS:
            try:
                active = bool(self._ask(saver, "GetActive"))
            except Unknown:
                continue
            self._saver = saver
            return reading(active, self._idle(saver), saver.idle_unit)
        self._saver = None
        raise Unknown("no screen saver service answers on the desktop's bus")

    def _idle(self, saver: Saver) -> int | None:
        # On Wayland KDE answers with an error, older versions with 0 for ever.
        if saver.idle_unit is None or self._desktop().wayland:
            return None
        try:
            return int(self._ask(saver, "GetSessionIdleTime"))
        except Unknown:
            return None

    def _ask(self, saver: Saver, member: str) -> int:
        return int(self._bus.call(saver.service, saver.path, saver.service, member)[0])
