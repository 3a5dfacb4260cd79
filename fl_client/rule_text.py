"""Rules as people type them: `idle_minutes=30`, `gpu=never`, `hours=mon-fri: 18:00-08:00; sat: 8:00-9:00`."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from fl_client.link_errors import BadInput
from fl_client.owner import first_fault
from fl_client.policy.hours import DAYS, Day, Week
from fl_client.policy.rules import STRICTER, Rules, Stricter

LISTS = (Stricter.UNION, Stricter.INTERSECTION)


def changed(rules: Rules, typed: Sequence[str]) -> Rules:
    """The rules with each NAME=VALUE applied."""
    return with_values(rules, dict(_split(text) for text in typed))


def with_values(rules: Rules, texts: dict[str, str]) -> Rules:
    """An empty text takes a rule back."""
    said = rules.model_dump(exclude_none=True)
    for name, text in texts.items():
        said.pop(check_name(name), None)
        if text.strip():
            said[name] = value(name, text)
    try:
        return Rules.model_validate(said)
    except ValidationError as exc:
        raise BadInput(f"{first_fault(exc)}.") from exc


def without(rules: Rules, names: Iterable[str]) -> Rules:
    return with_values(rules, dict.fromkeys(names, ""))


def check_name(name: str) -> str:
    if name not in STRICTER:
        raise BadInput(f"There is no rule {name!r}; see: constellation policy show")
    return name


def value(name: str, text: str) -> Any:
    """What pydantic takes for a field; numbers and yes or no it reads itself."""
    text = text.strip()
    if STRICTER[name] is Stricter.COMMON_HOURS:
        return _week(text)
    if STRICTER[name] in LISTS:
        return tuple(part for part in (part.strip() for part in text.split(",")) if part and part != "none")
    return text


def said(given: Any) -> str:
    """A value in the form in which it could be typed again."""
    if given is None:
        return ""
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, dict):
        return _week_text(given)
    if isinstance(given, tuple):
        return ", ".join(map(str, given)) or "none"
    return f"{given:g}" if isinstance(given, float) else str(given)


def _split(text: str) -> tuple[str, str]:
    name, sign, rest = text.partition("=")
    if not sign or not rest.strip():
        raise BadInput(f"{text!r} is no rule; it must be NAME=VALUE.")
    return name.strip(), rest


def _week(text: str) -> Week:
    week: dict[Day, tuple[str, ...]] = {}
    if text == "none":
        return week
    for part in filter(None, (part.strip() for part in text.replace("\n", ";").split(";"))):
        names, *windows = part.replace("–", "-").replace(", ", " ").split()
        if not windows:
            raise BadInput(f"{part!r} needs days and hours, such as: mon-fri: 18:00-08:00")
        for day in _days(names.rstrip(":").lower()):
            week[day] = (*week.get(day, ()), *windows)
    return week


def _days(text: str) -> list[Day]:
    """`mon`, `mon-fri`, `sat,sun`, `daily`."""
    if text == "daily":
        return list(DAYS)
    days: list[Day] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise BadInput(f"{part!r} is no day: mon, tue, wed, thu, fri, sat, sun, mon-fri or daily.")
        start, end = DAYS.index(first), DAYS.index(last or first)
        days += [DAYS[place % 7] for place in range(start, end + 1 if end >= start else end + 8)]
    return days


def _week_text(week: Week) -> str:
    if not week:
        return "none"
    parts = []
    for windows, days in groupby(DAYS, key=lambda day: week.get(day, ())):
        if windows:
            run = list(days)
            parts.append(f"{run[0] if len(run) == 1 else f'{run[0]}-{run[-1]}'}: {', '.join(windows)}")
    return "; ".join(parts)
