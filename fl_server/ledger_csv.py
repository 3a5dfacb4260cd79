"""The ledger as CSV, line by line, safe to open in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from fl_server.models import Contribution
from fl_server.selectors.contributions import Total

ROW = (
    "id",
    "at",
    "owner",
    "device",
    "device_name",
    "job",
    "job_name",
    "round",
    "examples",
    "seconds",
    "energy_wh",
)
TOTAL = ("key", "name", "owner", "rows", "examples", "seconds", "energy_wh", "energy_known")
# A cell that begins so is a formula to a spreadsheet, whatever somebody's machine is called.
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Line:
    """A file for `csv.writer` that hands back what it is given."""

    def write(self, text: str) -> str:
        return text


def lines(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(head)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def of_rows(rows: Iterable[Contribution]) -> Iterator[str]:
    return lines(ROW, map(_row, rows))


def of_totals(totals: Iterable[Total]) -> Iterator[str]:
    return lines(TOTAL, ([getattr(total, name) for name in TOTAL] for total in totals))


def _row(row: Contribution) -> list[Any]:
    return [
        row.pk,
        row.at.isoformat(),
        row.owner.get_username(),
        row.device_id,
        row.device.name,
        row.job_id,
        row.job_name,
        row.round_number,
        row.examples,
        row.seconds,
        row.energy_wh,
    ]


def _cell(value: Any) -> Any:
    """Unknown is empty, never 0."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
