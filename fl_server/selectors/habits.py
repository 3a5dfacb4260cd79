"""When a device is free, as a week that can be drawn. A profile of its owner, so for few eyes only."""

from dataclasses import dataclass
from typing import Any

from fl_server import roles
from fl_server.models import Device

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS = 24


@dataclass(frozen=True)
class Day:
    name: str
    shares: tuple[float, ...]
    """how often it was free, of each hour (UTC)"""


@dataclass(frozen=True)
class Week:
    days: tuple[Day, ...]
    share: float
    """of all its hours"""


def may_see(user: Any, device: Device) -> bool:
    # The owner is asked first, which costs no query.
    return bool(device.owner_id == user.pk or roles.is_admin(user))


def week(device: Device) -> Week | None:
    """None until it was looked at once."""
    hours = device.free_hours
    if len(hours) != len(DAYS) * HOURS:
        return None
    days = tuple(
        Day(name, tuple(hours[place * HOURS : (place + 1) * HOURS])) for place, name in enumerate(DAYS)
    )
    return Week(days, sum(hours) / len(hours))
