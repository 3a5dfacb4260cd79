"""What this machine did, kept on it: one row for each round that it took part in.

Every call opens the file anew, so that threads and processes may use it together.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from fl_client import home as files
from fl_client.home import Home

KEEP = timedelta(days=730)
PATIENCE = 10.0  # seconds to wait for another writer

TABLE = """
CREATE TABLE IF NOT EXISTS participation (
    run INTEGER NOT NULL,
    round INTEGER NOT NULL,
    job TEXT NOT NULL,
    researcher TEXT NOT NULL,
    started TEXT NOT NULL,
    seconds REAL NOT NULL,
    examples INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    energy_wh REAL,
    lost_seconds REAL NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (run, round)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS participation_started ON participation (started);
"""
SUMS = (
    "count(*), total(seconds), total(examples), "
    # A sum that leaves out what could not be measured would be a guess.
    "CASE WHEN count(*) = count(energy_wh) THEN total(energy_wh) END, total(lost_seconds)"
)


class JournalError(OSError):
    """The history cannot be read or written; nothing else depends on it."""


@dataclass(frozen=True)
class Entry:
    run: int
    round: int
    job: str
    researcher: str
    started: datetime  # aware
    seconds: float
    examples: int
    partial: bool = False
    energy_wh: float | None = None  # None where it cannot be measured
    lost_seconds: float = 0.0
    outcome: str = "uploaded"  # or the code of what went wrong


@dataclass(frozen=True)
class Total:
    """A sum over rounds; `name` is a month (2026-11) or a job."""

    name: str
    rounds: int
    seconds: float
    examples: int
    energy_wh: float | None  # None when one of its rounds could not be measured
    lost_seconds: float


class Journal:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.file(files.JOURNAL)

    def add(self, entry: Entry) -> None:
        """A round told again, after a reconnection, replaces what was told before."""
        started = entry.started.astimezone(UTC)
        row = [*astuple(entry)]
        row[4] = _text(started)
        with self._open() as database:
            marks = ", ".join("?" * len(row))
            database.execute(f"INSERT OR REPLACE INTO participation ({COLUMNS}) VALUES ({marks})", row)  # noqa: S608
            database.execute("DELETE FROM participation WHERE started < ?", (_text(started - KEEP),))

    def entries(self, since: datetime | None = None, limit: int | None = None) -> list[Entry]:
        """The newest first."""
        query = f"SELECT {COLUMNS} FROM participation WHERE started >= ? ORDER BY started DESC LIMIT ?"  # noqa: S608
        return [_entry(row) for row in self._rows(query, (_since(since), -1 if limit is None else limit))]

    def months(self, since: datetime | None = None) -> list[Total]:
        """The newest first, by the local calendar."""
        return self._totals("strftime('%Y-%m', started, 'localtime')", "1 DESC", since)

    def jobs(self, since: datetime | None = None) -> list[Total]:
        """Those that took most time first."""
        return self._totals("job", "3 DESC, 1", since)

    def total(self, since: datetime | None = None) -> Total:
        found = self._totals("''", "1", since)
        return found[0] if found else Total("", 0, 0.0, 0, None, 0.0)

    def _totals(self, name: str, order: str, since: datetime | None) -> list[Total]:
        query = f"SELECT {name}, {SUMS} FROM participation WHERE started >= ? GROUP BY 1 ORDER BY {order}"  # noqa: S608
        return [
            Total(row[0], row[1], row[2], int(row[3]), *row[4:])
            for row in self._rows(query, (_since(since),))
        ]

    def _rows(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        with self._open() as database:
            return database.execute(query, values).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._home.ensure()
        # Made by us, not by SQLite: its side files take over the mode.
        self._path.touch(0o600)
        try:
            with closing(sqlite3.connect(self._path, timeout=PATIENCE)) as database, database:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(TABLE)
                yield database
        except sqlite3.Error as exc:
            raise JournalError(f"{self._path} cannot be used: {exc}") from exc


COLUMNS = ", ".join(field.name for field in fields(Entry))


def month_start(now: datetime, months: int) -> datetime:
    """The first instant of the month that lies `months` - 1 before this one, so 1 is this month."""
    month = now.year * 12 + now.month - months
    return datetime(month // 12, month % 12 + 1, 1).astimezone()


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")


def _since(instant: datetime | None) -> str:
    return "" if instant is None else _text(instant.astimezone(UTC))


def _entry(row: tuple[Any, ...]) -> Entry:
    named = dict(zip((field.name for field in fields(Entry)), row, strict=True))
    named["started"] = datetime.fromisoformat(str(named["started"]))
    named["partial"] = bool(named["partial"])
    return Entry(**named)
