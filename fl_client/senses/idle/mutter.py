"""GNOME, on X and on Wayland: its compositor counts the milliseconds."""

from fl_client.policy.facts import Session
from fl_client.senses.dbus import Bus
from fl_client.senses.idle.reading import IdleBackend, Reading

SERVICE = "org.gnome.Mutter.IdleMonitor"
PATH = "/org/gnome/Mutter/IdleMonitor/Core"  # of all devices together


def reading(milliseconds: int) -> Reading:
    """Somebody's desktop runs; whether it is locked, others know."""
    return Reading(milliseconds / 1000, Session.ACTIVE)


class Mutter(IdleBackend):
    name = "mutter"
    period = 0.0

    def __init__(self, session_bus: Bus) -> None:
        self._bus = session_bus

    def read(self) -> Reading:
        return reading(self._bus.call(SERVICE, PATH, SERVICE, "GetIdletime")[0])
