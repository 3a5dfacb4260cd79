import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fl_client.policy import hours
from tests.client.policy.machines import BERLIN, random_hours

FORWARD = (2026, 3, 29)  # Sunday, 02:00 becomes 03:00
BACK = (2026, 10, 25)  # Sunday, 03:00 becomes 02:00


def week(**days: Sequence[str]) -> hours.Week:
    return hours.canonical({day: tuple(windows) for day, windows in days.items()})


def at(day: tuple[int, int, int], clock: str, fold: int = 0, zone: str = "Europe/Berlin") -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(*day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold)


def minutes_until(later: datetime | None, now: datetime) -> float:
    assert later is not None
    return (later.astimezone(UTC) - now.astimezone(UTC)).total_seconds() / 60


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"mon": ["8:00-12:00"]}, {"mon": ("08:00-12:00",)}),
        ({"mon": ["18:00-08:00"]}, {"mon": ("18:00-24:00",), "tue": ("00:00-08:00",)}),
        ({"sun": ["18:00-08:00"]}, {"mon": ("00:00-08:00",), "sun": ("18:00-24:00",)}),
        ({"mon": ["18:00-00:00"]}, {"mon": ("18:00-24:00",)}),
        ({"tue": ["12:00-15:00", "08:00-13:00"]}, {"tue": ("08:00-15:00",)}),
        ({"tue": ["08:00-12:00", "12:00-15:00"]}, {"tue": ("08:00-15:00",)}),
        ({"sun": ["00:00-24:00"], "mon": []}, {"sun": ("00:00-24:00",)}),
        ({}, {}),
    ],
)
def test_equal_hours_are_kept_in_one_form(given, kept):
    assert week(**given) == kept
    assert hours.canonical(kept) == kept


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("18", "'18' is not a window; write it like 18:00-24:00"),
        ("evening", "not a window"),
        ("18:00-", "not a window"),
        ("18:00 - 24:00", "not a window"),
        ("18:60-20:00", "a time that no clock shows"),
        ("18:00-24:01", "a time that no clock shows"),
        ("24:00-08:00", "a time that no clock shows"),
        ("08:00-08:00", "is empty; a whole day is 00:00-24:00"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused_with_its_reason(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        week(mon=[text])


@pytest.mark.parametrize(
    ("day", "clock", "is_open"),
    [
        (8, "17:59", False),
        (8, "18:00", True),
        (8, "23:59", True),
        (9, "00:00", True),
        (9, "07:59", True),
        (9, "08:00", False),
        (9, "18:00", False),
        (14, "23:00", True),
        (15, "01:00", True),
        (8, "01:00", True),
    ],
)
def test_a_night_goes_on_after_midnight(day, clock, is_open):
    nights = week(mon=["18:00-08:00"], sun=["22:00-02:00"])
    assert hours.is_open(nights, at((2026, 6, day), clock)) is is_open


def test_the_next_change_is_the_end_of_the_night_and_then_the_next_evening():
    nights = week(mon=["18:00-08:00"], wed=["20:00-22:00"])
    end = hours.next_change(nights, at((2026, 6, 8), "19:00"))
    assert end == at((2026, 6, 9), "08:00")
    assert hours.next_change(nights, end) == at((2026, 6, 10), "20:00")


@pytest.mark.parametrize("always", [{}, dict.fromkeys(hours.DAYS, ("00:00-24:00",))])
def test_hours_that_never_begin_or_end_have_no_next_change(always):
    assert hours.next_change(week(**always), at((2026, 6, 8), "19:00")) is None


def test_a_change_a_whole_week_away_is_found():
    assert hours.next_change(week(mon=["08:00-09:00"]), at((2026, 6, 8), "09:00")) == at(
        (2026, 6, 15), "08:00"
    )


@pytest.mark.parametrize(
    ("day", "from_clock", "minutes"),
    [
        (FORWARD, "01:00", 6 * 60),
        (FORWARD, "03:00", 5 * 60),
        (BACK, "01:00", 8 * 60),
        (BACK, "03:00", 5 * 60),
        ((2026, 6, 7), "01:00", 7 * 60),
    ],
)
def test_a_night_in_which_the_clock_is_changed_is_an_hour_shorter_or_longer(day, from_clock, minutes):
    now = at(day, from_clock)
    assert minutes_until(hours.next_change(week(sat=["22:00-08:00"]), now), now) == minutes


def test_a_window_in_an_hour_that_comes_twice_is_open_twice():
    early = week(sun=["02:00-02:30"])
    first, second = at(BACK, "02:10"), at(BACK, "02:10", fold=1)
    assert hours.is_open(early, first)
    assert hours.is_open(early, second)
    end = hours.next_change(early, first)
    assert minutes_until(end, first) == 20
    assert minutes_until(hours.next_change(early, end), end) == 30
    assert minutes_until(hours.next_change(early, second), second) == 20


def test_a_clock_that_is_put_back_out_of_a_window_closes_it():
    late = week(sun=["02:30-08:00"])
    now = at(BACK, "02:45")
    assert minutes_until(hours.next_change(late, now), now) == 15


def test_a_window_that_ends_in_an_hour_left_out_ends_where_the_clock_jumps():
    now = at(FORWARD, "01:50")
    assert minutes_until(hours.next_change(week(sun=["00:00-02:30"]), now), now) == 10


def test_a_window_within_an_hour_left_out_opens_a_week_later():
    never = hours.next_change(week(sun=["02:10-02:40"]), at(FORWARD, "01:00"))
    assert never == at((2026, 4, 5), "02:10")


@pytest.mark.parametrize(
    ("zone", "day", "night", "minutes"),
    [
        ("Africa/Cairo", (2026, 4, 23), "22:00-02:00", 120),  # 00:00 becomes 01:00 on the 24th
        ("Africa/Cairo", (2026, 10, 29), "22:00-02:00", 240),  # 00:00 becomes 23:00 on the 29th
        ("Australia/Lord_Howe", (2026, 4, 4), "22:00-04:00", 330),  # 02:00 becomes 01:30 on the 5th
        ("Asia/Kolkata", (2026, 4, 23), "22:00-02:00", 180),
    ],
)
def test_clocks_of_other_countries_are_right_too(zone, day, night, minutes):
    now = at(day, "23:00", zone=zone)
    nights = week(**dict.fromkeys(hours.DAYS, (night,)))
    assert minutes_until(hours.next_change(nights, now), now) == minutes


@pytest.mark.parametrize("day", [FORWARD, BACK, (2026, 6, 7)])
def test_the_next_change_is_the_first_minute_that_differs(day):
    rng = random.Random(sum(day))
    for _ in range(15):
        hours_drawn = week(**random_hours(rng))
        now = (datetime(*day, tzinfo=BERLIN) + timedelta(minutes=rng.randint(0, 200))).astimezone(UTC)
        was_open = hours.is_open(hours_drawn, now.astimezone(BERLIN))
        minutes = (now + timedelta(minutes=passed) for passed in range(1, 24 * 60))
        first = next(
            (each for each in minutes if hours.is_open(hours_drawn, each.astimezone(BERLIN)) != was_open),
            None,
        )
        found = hours.next_change(hours_drawn, now.astimezone(BERLIN))
        assert found == first if first else found is None or found >= now + timedelta(days=1)


def test_an_instant_without_its_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        hours.next_change(week(mon=["08:00-09:00"]), datetime(2026, 6, 8))
