"""Battery or mains."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from fl_client.senses.sense import Unknown

SUPPLIES = Path("/sys/class/power_supply")  # Linux


@dataclass(frozen=True)
class Power:
    on_ac: bool | None = None
    battery_percent: float | None = None


def read() -> Power:
    # psutil takes the battery of a wireless mouse for the machine's where there is no other.
    if SUPPLIES.is_dir() and not has_own_battery(SUPPLIES.iterdir()):
        raise Unknown("this machine has no battery")
    sensor = getattr(psutil, "sensors_battery", None)
    battery = sensor() if sensor else None
    if battery is None:
        raise Unknown("this machine has no battery")
    return Power(battery.power_plugged, battery.percent)


def has_own_battery(supplies: Iterable[Path]) -> bool:
    """Whether one of the supplies is a battery that drives the machine and not a device attached to it."""
    return any(_word(each / "type") == "battery" and _word(each / "scope") != "device" for each in supplies)


def _word(path: Path) -> str:
    try:
        return path.read_text().strip().lower()
    except OSError:
        return ""
