import sqlite3
import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fl_client import home as files
from fl_client import journal
from fl_client.home import Home
from fl_client.journal import Entry, Journal, JournalError, Total

NOW = datetime.now(UTC)
ENTRY = Entry(7, 1, "Chest X-rays", "Rosa", NOW, seconds=60.0, examples=100, energy_wh=2.0)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def kept(home: Home) -> Journal:
    return Journal(home)


def test_an_empty_journal_makes_no_file(kept: Journal, home: Home) -> None:
    assert (kept.entries(), kept.months(), kept.total().rounds) == ([], [], 0)
    assert not home.file(files.JOURNAL).exists()


def test_an_entry_comes_back_as_it_was_written(kept: Journal) -> None:
    odd = replace(ENTRY, round=2, partial=True, energy_wh=None, lost_seconds=1.5, outcome="diverged")
    kept.add(ENTRY)
    kept.add(replace(odd, started=NOW + timedelta(seconds=1)))
    assert kept.entries() == [replace(odd, started=NOW + timedelta(seconds=1)), ENTRY]
    assert kept.entries(limit=1) == [replace(odd, started=NOW + timedelta(seconds=1))]


def test_only_the_owner_reads_it(kept: Journal, home: Home) -> None:
    kept.add(ENTRY)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in home.path.glob(f"{files.JOURNAL}*")]
    assert modes
    assert set(modes) == {0o600}


def test_a_round_told_twice_counts_once(kept: Journal) -> None:
    kept.add(ENTRY)
    kept.add(replace(ENTRY, outcome="late"))
    assert [entry.outcome for entry in kept.entries()] == ["late"]


def test_totals_by_month_and_by_job(kept: Journal) -> None:
    this = journal.month_start(datetime.now().astimezone(), 1)
    last = this - timedelta(days=3)
    kept.add(replace(ENTRY, started=this))
    kept.add(replace(ENTRY, round=2, started=last, seconds=30.0, job="Recommender", lost_seconds=2.0))
    kept.add(replace(ENTRY, round=3, started=last, seconds=300.0, job="Recommender"))
    assert kept.months() == [
        Total(f"{this:%Y-%m}", 1, 60.0, 100, 2.0, 0.0),
        Total(f"{last:%Y-%m}", 2, 330.0, 200, 4.0, 2.0),
    ]
    assert [total.name for total in kept.jobs()] == ["Recommender", "Chest X-rays"]
    assert kept.months(since=this) == kept.months()[:1]
    assert kept.total() == Total("", 3, 390.0, 300, 6.0, 2.0)


def test_energy_is_unknown_when_one_round_could_not_be_measured(kept: Journal) -> None:
    kept.add(ENTRY)
    kept.add(replace(ENTRY, round=2, energy_wh=None))
    assert kept.total().energy_wh is None


def test_what_is_older_than_two_years_goes(kept: Journal) -> None:
    kept.add(replace(ENTRY, started=NOW - timedelta(days=731)))
    kept.add(replace(ENTRY, round=2, started=NOW - timedelta(days=729)))
    kept.add(replace(ENTRY, round=3))
    assert [entry.round for entry in kept.entries()] == [3, 2]


def test_threads_write_together(home: Home) -> None:
    def write(run: int) -> None:
        for number in range(10):
            Journal(home).add(replace(ENTRY, run=run, round=number))

    threads = [threading.Thread(target=write, args=(run,)) for run in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Journal(home).total().rounds == 40


def test_a_damaged_file_is_an_error_with_its_name(kept: Journal, home: Home) -> None:
    home.write(files.JOURNAL, b"not a database at all" * 100)
    with pytest.raises(JournalError, match=r"journal\.sqlite3 cannot be used") as caught:
        kept.entries()
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


@pytest.mark.parametrize(
    ("months", "start"), [(1, (2026, 2)), (2, (2026, 1)), (3, (2025, 12)), (15, (2024, 12))]
)
def test_where_the_last_months_begin(months: int, start: tuple[int, int]) -> None:
    begin = journal.month_start(datetime(2026, 2, 17, tzinfo=UTC), months)
    assert (begin.year, begin.month, begin.day) == (*start, 1)
