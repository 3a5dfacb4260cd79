"""When schedules are due: cron expressions, time zones, daylight saving."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from fl_server import timing
from fl_server.exceptions import InvalidInput

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def planned(cron: str, zone: str, first: str, last: str) -> list[str]:
    """Every planned time of the UTC days from `first` to `last`."""
    until = at(last) + timedelta(days=1)
    found = []
    for time in timing.cron(cron, zone).after(at(first) - timedelta(microseconds=1)):
        if time >= until:
            break
        found.append(f"{time:%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("cron", "zone", "first", "last", "times"),
    [
        # 2026-03-29 has no 02:30 in Berlin: the clock goes from 02:00 CET (01:00 UTC) to 03:00 CEST.
        ("30 2 * * *", BERLIN, "2026-03-28", "2026-03-30", ["03-28 01:30", "03-29 01:30", "03-30 00:30"]),
        # 2026-10-25 has it twice, at 00:30 and at 01:30 UTC.
        ("30 2 * * *", BERLIN, "2026-10-24", "2026-10-26", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("30 2 29 3 *", BERLIN, "2026-03-29", "2026-03-29", ["03-29 01:30"]),
        ("30 2 25 10 *", BERLIN, "2026-10-25", "2026-10-25", ["10-25 00:30"]),
        # 02:30, which is left out, becomes 03:30, which is there already.
        ("30 2,3 * * *", BERLIN, "2026-03-29", "2026-03-29", ["03-29 01:30"]),
        ("30 2,3 * * *", BERLIN, "2026-10-25", "2026-10-25", ["10-25 00:30", "10-25 02:30"]),
        # The hours either side of both are as on every day.
        ("0 1,4 * * *", BERLIN, "2026-03-29", "2026-03-29", ["03-29 00:00", "03-29 02:00", "03-29 23:00"]),
        ("0 9 * * sun", BERLIN, "2026-10-24", "2026-10-26", ["10-25 08:00"]),
        # Midnight itself is left out in Beirut on 2026-03-29.
        ("30 0 * * *", "Asia/Beirut", "2026-03-28", "2026-03-29", ["03-28 22:30", "03-29 21:30"]),
        # Lord Howe changes by half an hour.
        ("15 2 4 10 *", "Australia/Lord_Howe", "2026-10-03", "2026-10-04", ["10-03 15:45"]),
        ("0 12 29 2 *", "UTC", "2026-01-01", "2028-12-31", ["02-29 12:00"]),
        ("0 0 31 * *", "UTC", "2026-01-01", "2026-05-01", ["01-31 00:00", "03-31 00:00"]),
    ],
)
def test_daylight_saving_makes_no_job_run_twice_or_not_at_all(
    cron: str, zone: str, first: str, last: str, times: list[str]
) -> None:
    assert planned(cron, zone, first, last) == times


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_an_hourly_job_follows_the_hours_that_pass(day: str, hours: int) -> None:
    first = datetime.fromisoformat(day).replace(tzinfo=timing.zone(BERLIN))
    end = (first + timedelta(days=1)).astimezone(UTC)
    times = [t for t in islice(timing.cron("30 * * * *", BERLIN).after(first), 30) if t < end]
    assert len(times) == hours
    assert {b - a for a, b in pairwise(times)} == {timedelta(hours=1)}


@pytest.mark.parametrize("cron", ["30 2 * * *", "30 * * * *", "*/20 1-4 * * sun", "0 0 1 * *"])
@pytest.mark.parametrize("around", ["2026-03-29", "2026-10-25", "2026-07-01"])
def test_the_latest_time_is_the_last_of_those_that_come_after(cron: str, around: str) -> None:
    times = timing.cron(cron, BERLIN)
    since = at(around) - timedelta(days=2)
    for hours in range(0, 96, 5):
        until = since + timedelta(hours=hours)
        passed = [t for t in islice(times.after(since), 400) if t <= until]
        assert times.latest(since, until) == (passed[-1] if passed else None)


def test_the_next_five_runs() -> None:
    times = islice(timing.cron("30 2 * * mon-fri", BERLIN).after(at("2026-10-22 12:00")), 5)
    local = [f"{time.astimezone(timing.zone(BERLIN)):%a %d %H:%M %Z}" for time in times]
    assert local == [
        "Fri 23 02:30 CEST",
        "Mon 26 02:30 CET",
        "Tue 27 02:30 CET",
        "Wed 28 02:30 CET",
        "Thu 29 02:30 CET",
    ]


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("30 2 * * mon-fri", "At 02:30, Monday through Friday (Europe/Berlin)"),
        ("*/15 * * * *", "Every 15 minutes (Europe/Berlin)"),
        ("0 22 1 * *", "At 22:00, on day 1 of the month (Europe/Berlin)"),
        ("5 4  * JAN sun", "At 04:05, only on Sunday, only in January (Europe/Berlin)"),
    ],
)
def test_an_expression_is_said_in_words(cron: str, words: str) -> None:
    assert timing.cron(cron, BERLIN).words() == words


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "'60' for its minute; allowed are 0 to 59"),
        ("0 24 * * *", "'24' for its hour; allowed are 0 to 23"),
        ("0 0 0 * *", "'0' for its day of the month; allowed are 1 to 31"),
        ("0 0 * 13 *", "'13' for its month; allowed are 1 to 12 or jan to dec"),
        ("0 0 * mon *", "'mon' for its month"),
        ("0 0 * * 7", "'7' for its weekday; allowed are 0 to 6 or sun to sat"),
        ("*/0 * * * *", "'*/0' for its minute"),
        ("jan * * * *", "'jan' for its minute"),
        ("0 0 30 2 *", "no such day in any year"),
        ("0 0 * */31 *", "A step may be no longer than its field"),
        ("0 0 13 * fri", "not both"),
        ("1," * 40 + "1 * * * *", "for its minute"),
        ("0 0 * * " + "é" * 100, "five fields"),
    ],
)
def test_what_is_no_expression_is_refused_and_says_why(cron: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        timing.cron(cron, "UTC")
    assert caught.value.field == "cron"
    assert said in caught.value.message


@pytest.mark.parametrize(
    "zone", ["", "localtime", "Mars/Olympus", "../../etc/passwd", "CEST", "europe/berlin "]
)
def test_an_unknown_time_zone_is_refused_by_name(zone: str) -> None:
    with pytest.raises(InvalidInput, match="timezone is") as caught:
        timing.cron("0 0 * * *", zone)
    assert caught.value.field == "timezone"


@pytest.mark.parametrize(
    ("given", "utc"),
    [
        ("2026-03-29T02:30", "2026-03-29 01:30"),
        ("2026-10-25T02:30", "2026-10-25 00:30"),
        ("2026-07-01T08:00", "2026-07-01 06:00"),
        ("2026-07-01T08:00+00:00", "2026-07-01 08:00"),
    ],
)
def test_a_time_without_an_offset_is_one_of_the_zones_clock(given: str, utc: str) -> None:
    once = timing.once(datetime.fromisoformat(given), BERLIN)
    assert list(once.after(at("2026-01-01"))) == [at(utc)]
    assert once.latest(at("2026-01-01"), at("2027-01-01")) == at(utc)
    assert list(once.after(at(utc))) == []


def test_every_zone_that_the_form_offers_is_known() -> None:
    assert timing.zones()[0] == "UTC"
    assert BERLIN in timing.zones()
    assert all(timing.zone(name) for name in timing.zones())
