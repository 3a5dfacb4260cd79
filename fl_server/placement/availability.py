"""How likely a device that is free now stays free, from its own history by hour of the week."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil

HOURS = 168
# Further ahead habits tell little, and every hour costs reading.
LOOKS_AHEAD = 24


def hours(now: datetime, seconds: float) -> tuple[int, ...]:
    """The hours of the week (UTC, from Monday) for which it would have to stay free; a day at most."""
    first = now.weekday() * 24 + now.hour
    begun = now.replace(minute=0, second=0, microsecond=0)
    until = now + timedelta(seconds=seconds)
    count = min(LOOKS_AHEAD, max(1, ceil((until - begun).total_seconds() / 3600)))
    return tuple((first + step) % HOURS for step in range(count))


def stays_free(
    free_hours: Sequence[float] | Mapping[int, float], now: datetime, seconds: float
) -> float | None:
    """The lowest share of those hours; None where there is no history of them. `now` is in UTC."""
    return lowest(free_hours, hours(now, seconds))


def lowest(free_hours: Sequence[float] | Mapping[int, float], wanted: tuple[int, ...]) -> float | None:
    try:
        return min(free_hours[hour] for hour in wanted)
    except LookupError:
        return None
