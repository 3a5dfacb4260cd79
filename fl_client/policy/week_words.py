"""Allowed hours in words: `Mon–Fri 18:00–08:00 and all weekend`."""

from itertools import groupby

from fl_client.policy.hours import DAYS, MINUTES, Span, Week, spans
from fl_client.policy.phrases import WEEKDAYS, joined

ALL_DAY = "all day"


def said(week: Week) -> str:
    """Empty for a week without limits."""
    days = [spans(week.get(day, ())) for day in DAYS]
    texts = [_day(days, index) for index in range(7)]
    if not any(texts):
        return "at no hour"
    if texts == [ALL_DAY] * 7:
        return ""
    runs = [[index for index, _ in run] for _, run in groupby(enumerate(texts), key=lambda pair: pair[1])]
    return joined([_run(run, texts[run[0]], days) for run in runs if texts[run[0]]])


def _run(run: list[int], text: str, days: list[list[Span]]) -> str:
    """Neighbouring days with the same windows. Whole days may go on into the morning after them."""
    first, last = run[0], run[-1]
    if text != ALL_DAY:
        return f"daily {text}" if len(run) == 7 else f"{_names(first, last)} {text}"
    whole = "all weekend" if (first, last) == (5, 6) else f"all of {_names(first, last)}"
    after = (last + 1) % 7
    end = 0 if _is_whole(days[after]) else _morning(days[after])
    return f"{whole} until {WEEKDAYS[after]} {_time(end)}" if end else whole


def _names(first: int, last: int) -> str:
    return WEEKDAYS[first] if first == last else f"{WEEKDAYS[first]}–{WEEKDAYS[last]}"


def _day(days: list[list[Span]], index: int) -> str:
    """The windows that begin on a day: a morning belongs to the evening before it."""
    today, tomorrow = days[index], days[(index + 1) % 7]
    if _is_whole(today):
        return ALL_DAY
    shown = [[start, end] for start, end in today]
    if _evening(today):
        # Before a whole day the end may be told as in the other nights: those hours are open anyway.
        shown[-1][1] = _morning(today if _is_whole(tomorrow) else tomorrow) or MINUTES
    if _morning(today) and _evening(days[index - 1]):
        del shown[0]
    return joined([f"{_time(start)}–{_time(end)}" for start, end in shown])


def _is_whole(day: list[Span]) -> bool:
    return day == [(0, MINUTES)]


def _evening(day: list[Span]) -> bool:
    return bool(day) and day[-1][1] == MINUTES


def _morning(day: list[Span]) -> int:
    """When the window that begins at midnight ends; 0 without one."""
    return day[0][1] if day and day[0][0] == 0 else 0


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
