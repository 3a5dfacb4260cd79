"""history."""

import argparse
import csv
import io
from dataclasses import asdict, fields
from datetime import datetime

from fl_client import journal
from fl_client.home import Home
from fl_client.journal import Entry, Journal, Total
from fl_client.link_errors import BadInput
from fl_client.spoken import energy, hours

MOST_MONTHS = 24  # which is as long as the history is kept


def history(options: argparse.Namespace, home: Home) -> str:
    if not 1 <= options.months <= MOST_MONTHS:
        raise BadInput(f"--months is {options.months}; allowed are 1 to {MOST_MONTHS}.")
    since = journal.month_start(datetime.now().astimezone(), options.months)
    kept = Journal(home)
    if options.csv:
        return _csv(kept.entries(since))
    total = kept.total(since)
    if not total.rounds:
        return f"No training since {since:%Y-%m-%d}."
    sections = [("Month", kept.months(since)), ("Job", kept.jobs(since)), ("", [total])]
    return "\n\n".join(_table(title, totals) for title, totals in sections)


def _table(title: str, totals: list[Total]) -> str:
    head = (title or "All", "Rounds", "Time", "Rows", "Energy", "Lost")
    rows = [
        (
            total.name,
            str(total.rounds),
            hours(total.seconds),
            str(total.examples),
            energy(total.energy_wh),
            hours(total.lost_seconds),
        )
        for total in totals
    ]
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in (head, *rows)
    )


def _csv(entries: list[Entry]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(entry), "started": entry.started.isoformat()} for entry in entries)
    return text.getvalue().rstrip("\n")
