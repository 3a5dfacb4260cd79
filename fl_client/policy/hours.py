"""Hours of the week in which training is allowed, as the clock on the machine's wall shows them.

A week is `{"mon": ("00:00-08:00", "18:00-24:00"), ...}`; a day that is not named is closed. What counts is
what the clock shows: an hour that comes twice when the clock is put back counts twice, an hour that is left
out when it is put forward never comes. How long it is until a boundary is reckoned between instants.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal, get_args

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Week = dict[Day, tuple[str, ...]]
Span = tuple[int, int]  # minutes since midnight; the end does not belong to it

DAYS: tuple[Day, ...] = get_args(Day)
MINUTES = 24 * 60
WINDOW = re.compile("([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")
# Two weeks: the only window of a week may fall into the hour that a clock put forward leaves out.
HORIZON_DAYS = 15


def spans(windows: Iterable[str]) -> list[Span]:
    return [_span(text) for text in windows]


def canonical(week: Mapping[Day, tuple[str, ...]]) -> Week:
    """The same hours in the one form that equal hours share: cut at midnight, merged, in order."""
    cut: dict[Day, list[Span]] = {day: [] for day in DAYS}
    for day, windows in week.items():
        for start, end in spans(windows):
            if start < end:
                cut[day].append((start, end))
            else:
                cut[day].append((start, MINUTES))
                cut[DAYS[(DAYS.index(day) + 1) % 7]].append((0, end))
    return _week(cut)


def intersect(one: Week, other: Week) -> Week:
    """The hours that both allow; both are canonical."""
    return _week(
        {
            day: [
                (max(start, first), min(end, last))
                for start, end in spans(one.get(day, ()))
                for first, last in spans(other.get(day, ()))
            ]
            for day in DAYS
        }
    )


def is_open(week: Week, moment: datetime) -> bool:
    minute = moment.hour * 60 + moment.minute
    return any(start <= minute < end for start, end in spans(week.get(DAYS[moment.weekday()], ())))


def next_change(week: Week, moment: datetime) -> datetime | None:
    """The first instant after `moment` at which the hours begin or end; None when they never do.

    `moment` is aware; give it a zone that knows daylight saving, not a fixed offset.
    """
    if moment.tzinfo is None:
        raise ValueError("an instant needs its time zone")
    now, was_open = moment.astimezone(UTC), is_open(week, moment)
    for ahead in range(HORIZON_DAYS):
        for instant in _boundaries(week, moment.date() + timedelta(days=ahead), moment.tzinfo):
            local = instant.astimezone(moment.tzinfo)
            if instant > now and is_open(week, local) != was_open:
                return local
    return None


def _span(text: str) -> Span:
    found = WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a window; write it like 18:00-24:00")
    first_hour, first_minute, last_hour, last_minute = map(int, found.groups())
    start, end = first_hour * 60 + first_minute, last_hour * 60 + last_minute
    if first_minute > 59 or last_minute > 59 or start >= MINUTES or end > MINUTES:
        raise ValueError(f"{text!r} names a time that no clock shows")
    if start == end:
        raise ValueError(f"{text!r} is empty; a whole day is 00:00-24:00")
    return start, end


def _week(cut: Mapping[Day, list[Span]]) -> Week:
    merged = {day: tuple(_text(span) for span in _merged(cut[day])) for day in DAYS}
    return {day: windows for day, windows in merged.items() if windows}


def _merged(parts: list[Span]) -> Iterator[Span]:
    """Spans that overlap or touch become one; empty ones go."""
    held: Span | None = None
    for start, end in sorted(part for part in parts if part[0] < part[1]):
        if held is None or start > held[1]:
            if held is not None:
                yield held
            held = (start, end)
        else:
            held = (held[0], max(held[1], end))
    if held is not None:
        yield held


def _text(span: Span) -> str:
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in span)


def _boundaries(week: Week, day: date, zone: tzinfo) -> list[datetime]:
    """Every instant of a day at which its hours may begin or end, in order, in UTC."""
    midnight = datetime.combine(day, time())
    begin, end = _instant(midnight, zone), _instant(midnight + timedelta(days=1), zone)
    windows = spans(week.get(DAYS[day.weekday()], ()))
    walls = [midnight + timedelta(minutes=edge) for span in windows for edge in span]
    found = {_instant(wall, zone) for wall in walls}
    if begin.astimezone(zone).utcoffset() != end.astimezone(zone).utcoffset():
        found |= {_instant(wall, zone, fold=1) for wall in walls} | {_clock_change(begin, end, zone)}
    return sorted(instant for instant in found if begin <= instant <= end)


def _instant(wall: datetime, zone: tzinfo, fold: int = 0) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _clock_change(begin: datetime, end: datetime, zone: tzinfo) -> datetime:
    """The minute between two instants at which the clock is put forward or back."""
    offset = begin.astimezone(zone).utcoffset()
    minutes = int((end - begin) / timedelta(minutes=1))

    def is_later(minute: int) -> bool:
        return (begin + timedelta(minutes=minute)).astimezone(zone).utcoffset() != offset

    return begin + timedelta(minutes=bisect_left(range(minutes), True, key=is_later))
