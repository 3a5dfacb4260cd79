"""Small pieces of English for sentences that people read."""

from collections.abc import Sequence
from datetime import datetime, timedelta

# Not strftime, which speaks the language of the machine.
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FRACTIONS = {25: "a quarter of", 50: "half of", 75: "three quarters of"}
GIGABYTE = 10**9


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return count(seconds, "second") if seconds < 60 else count(seconds // 60, "minute")


def amount(value: float) -> str:
    return f"{round(value, 1):g}"


def gigabytes(size: float) -> str:
    return f"{amount(size / GIGABYTE)} GB"


def share(per_cent: int) -> str:
    return FRACTIONS.get(per_cent, f"{per_cent} % of")


def joined(items: Sequence[str], word: str = "and") -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def clock(instant: datetime, now: datetime) -> str:
    """`18:00`, `18:00 on Mon` within the next days, `18:00 on 2 Nov` later; in the zone of `now`."""
    local = instant.astimezone(now.tzinfo)
    days = (local.date() - now.date()).days
    if days == 0:
        return f"{local:%H:%M}"
    day = WEEKDAYS[local.weekday()] if 0 < days < 7 else f"{local.day} {MONTHS[local.month - 1]}"
    return f"{local:%H:%M} on {day}"
