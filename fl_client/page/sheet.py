"""The page's templates, and the facts that they show."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fl_client import __version__, owner, private_data
from fl_client.home import Home
from fl_client.journal import Entry, Journal, JournalError, Total, month_start
from fl_client.link_errors import BadInput
from fl_client.page import controls
from fl_client.policy import layers
from fl_client.policy.pause import Pause
from fl_client.policy.phrases import MONTHS, clock
from fl_client.spoken import energy, hours
from fl_client.standing import Standing, progress

ENTRIES_SHOWN, MONTHS_SHOWN = 12, 12

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)


def render(name: str, **facts: Any) -> str:
    return _templates.get_template(name).render(**{"fault": "", "said": "", "version": __version__, **facts})


def of_now(home: Home, standing: Standing) -> dict[str, Any]:
    now = datetime.now().astimezone()
    return {
        "standing": standing,
        "pause": _pause(home, now),
        "paused_until": _until(_pause(home, now), now),
        "since": clock(standing.since, now) if standing.since else "",
        "work_since": clock(standing.work.since, now) if standing.work else "",
    }


def of_page(home: Home, standing: Standing) -> dict[str, Any]:
    """Reads files, so it is called on a thread."""
    mine = owner.read(home).rules
    data, data_fault = _data(home)
    return {
        **of_now(home, standing),
        "sections": list(controls.sections(mine, standing.above)),
        "sentence": standing.sentence,
        "in_vain": layers.loosened(mine, standing.above),
        "history": _history(home),
        "data": data,
        "data_fault": data_fault,
    }


@dataclass(frozen=True)
class History:
    month: Total
    all: Total
    months: list[Total]
    entries: list[Entry]
    fault: str = ""


def _history(home: Home) -> History:
    journal, now = Journal(home), datetime.now().astimezone()
    try:
        return History(
            month=journal.total(month_start(now, 1)),
            all=journal.total(),
            months=journal.months(month_start(now, MONTHS_SHOWN)),
            entries=journal.entries(limit=ENTRIES_SHOWN),
        )
    except JournalError as exc:
        nothing = Total("", 0, 0.0, 0, None, 0.0)
        return History(nothing, nothing, [], [], fault=str(exc))


def _data(home: Home) -> tuple[tuple[private_data.PrivateData, ...], str]:
    try:
        return private_data.registered(home), ""
    except BadInput as exc:
        return (), str(exc)


def _pause(home: Home, now: datetime) -> Pause | None:
    pause = owner.read(home).pause
    return pause if pause is not None and pause.holds(now) else None


def _until(pause: Pause | None, now: datetime) -> str:
    return clock(pause.until, now) if pause is not None and pause.until else ""


def _when(instant: datetime) -> str:
    return clock(instant.astimezone(UTC).astimezone(), datetime.now().astimezone())


def _month(name: str) -> str:
    year, month = name.split("-")
    return f"{MONTHS[int(month) - 1]} {year}"


def _whole(number: int) -> str:
    return f"{number:,}".replace(",", " ")


_templates.filters.update(
    energy=energy, hours=hours, month=_month, progress=progress, when=_when, whole=_whole
)
