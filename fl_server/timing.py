"""When a schedule is due: once, or by a cron expression in a time zone. Pure; services.schedules acts on it.

Wall-clock times that daylight saving leaves out come an hour later on that day. Of times that it repeats the
first counts, except where the hour begins with `*`: such a job follows the hours that pass, so it takes both.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo, available_timezones

from celery.schedules import ParseException, crontab_parser
from cron_descriptor import FormatException, Options, get_description

from fl_server.exceptions import InvalidInput

HORIZON = timedelta(days=366 * 8)  # the 29th of February may be eight years away
DAY = timedelta(days=1)
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LONGEST_FIELD = 60  # characters, as many as django-celery-beat stores of the shortest
LONGEST = 100
YEARS = (2000, 9998)  # nearer to the ends of the calendar a time zone leaves it


class Timing(Protocol):
    def after(self, moment: datetime) -> Iterator[datetime]:
        """Planned times later than `moment`, in order."""

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last planned time in (after, until]."""

    def words(self) -> str: ...


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        known = set(re.findall(r"[a-z]+", text)) <= set(self.names)
        try:
            if not known or len(text) > LONGEST_FIELD:
                raise ValueError(text)
            return frozenset(crontab_parser(self.last - self.first + 1, self.first).parse(text))
        except (ValueError, ParseException) as exc:
            allowed = f"{self.first} to {self.last}"
            allowed += f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
            raise InvalidInput(
                f"cron has {text!r} for its {self.name}; allowed are {allowed}, *, ranges like "
                f"{self.first}-{self.first + 2}, lists like {self.first},{self.first + 3}, steps like */2.",
                field="cron",
            ) from exc


FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("weekday", 0, 6, WEEKDAYS),
)


@dataclass(frozen=True)
class Once:
    at: datetime
    zone: ZoneInfo

    def after(self, moment: datetime) -> Iterator[datetime]:
        if self.at > moment:
            yield self.at

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        return self.at if after < self.at <= until else None

    def words(self) -> str:
        return f"Once, at {self.at.astimezone(self.zone):%Y-%m-%d %H:%M} ({self.zone})"


@dataclass(frozen=True)
class Cron:
    text: str
    zone: ZoneInfo
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @property
    def takes_repeated_hours(self) -> bool:
        return self.text.split()[1].startswith("*")

    def after(self, moment: datetime) -> Iterator[datetime]:
        # A day earlier, since a time that is left out may come after midnight.
        day = moment.astimezone(self.zone).date() - DAY
        last = day + HORIZON
        while day <= last:
            yield from (time for time in _times(self, day) if time > moment)
            day += DAY

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        day, first = until.astimezone(self.zone).date(), after.astimezone(self.zone).date() - DAY
        while day >= first:
            if found := [time for time in _times(self, day) if after < time <= until]:
                return found[-1]
            day -= DAY
        return None

    def words(self) -> str:
        options = Options()
        options.use_24hour_time_format = True
        return f"{get_description(self.text, options)} ({self.zone})"


# The same few days are asked for again and again.
@lru_cache(maxsize=128)
def _times(cron: Cron, day: date) -> list[datetime]:
    if not (day.month in cron.months and day.day in cron.days and day.isoweekday() % 7 in cron.weekdays):
        return []
    found = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            first = datetime(day.year, day.month, day.day, hour, minute, tzinfo=cron.zone)
            found.add(first.astimezone(UTC))
            second = first.replace(fold=1)
            if cron.takes_repeated_hours and second.utcoffset() < first.utcoffset():  # type: ignore[operator]
                found.add(second.astimezone(UTC))
    return sorted(found)


@cache
def zones() -> tuple[str, ...]:
    """Their names, UTC first, without those that are there for old programs."""
    return ("UTC", *sorted(n for n in available_timezones() if "/" in n and not n.startswith("Etc/")))


def zone(name: str) -> ZoneInfo:
    # What "localtime" means depends on the machine that reads it.
    if name not in available_timezones() or name in ("localtime", "Factory"):
        raise InvalidInput(
            f"timezone is {name!r}; it must be the name of a time zone, like Europe/Berlin or UTC.",
            field="timezone",
        )
    return ZoneInfo(name)


def once(at: datetime, timezone: str) -> Once:
    """A time without an offset is one of the time zone's clock."""
    where = zone(timezone)
    if not YEARS[0] <= at.year <= YEARS[1]:
        raise InvalidInput(
            f"at is in the year {at.year}; allowed are the years {YEARS[0]} to {YEARS[1]}.", field="at"
        )
    return Once((at if at.tzinfo else at.replace(tzinfo=where)).astimezone(UTC), where)


@lru_cache(maxsize=1024)
def cron(text: str, timezone: str) -> Cron:
    """Raises InvalidInput for what is no expression, never comes, or is read in two ways by programs."""
    where, text = zone(timezone), tidy(text)
    parts = text.split()
    if len(parts) != len(FIELDS) or len(text) > LONGEST:
        raise InvalidInput(
            f"cron is {text!r}; it must be five fields of together at most {LONGEST} characters: "
            "minute, hour, day of the month, month, weekday.",
            field="cron",
        )
    if parts[2] != "*" and parts[4] != "*":
        raise InvalidInput(
            f"cron is {text!r}; set the day of the month or the weekday, not both: whether one or both must "
            "match differs from program to program. Two schedules say it clearly.",
            field="cron",
        )
    sets = [field.parse(part) for field, part in zip(FIELDS, parts, strict=True)]
    made = Cron(text, where, *sets)
    try:
        made.words()
    except (FormatException, ValueError, IndexError) as exc:
        raise InvalidInput(
            f"cron is {text!r}, which cannot be read: {exc}. A step may be no longer than its field.",
            field="cron",
        ) from exc
    if next(made.after(datetime.now(UTC)), None) is None:
        raise InvalidInput(f"cron is {text!r}; there is no such day in any year.", field="cron")
    return made


def tidy(text: str) -> str:
    return " ".join(text.lower().split())
