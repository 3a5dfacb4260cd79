"""A disk that is full while a round's files are written."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from fl_server import kick
from fl_server.flower import room
from strategies import checkpoint
from strategies.exceptions import DiskFull
from strategies.link import Stopped


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """How often room was asked for; the question leaves the process."""
    found: list[bool] = []
    monkeypatch.setattr(kick, "make_room", lambda: found.append(True))
    monkeypatch.setattr(room, "RETRY_EVERY", 0.05)
    return found


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte with no room left."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False
    ).returncode:
        pytest.skip("only root mounts a file system")
    checkpoint.write(tmp_path / "old", bytes(900_000))
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_round_is_written_once_there_is_room(full_disk: Path, asked: list[bool]) -> None:
    threading.Timer(0.3, (full_disk / "old").unlink).start()
    written = room.write(lambda: checkpoint.write(full_disk / "new", bytes(500_000)), threading.Event())
    assert written.size == 500_000
    assert asked
    assert (full_disk / "new").stat().st_size == 500_000


def test_after_a_minute_it_is_said_to_be_full(full_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "DEADLINE", 0.2)
    with pytest.raises(DiskFull, match="does not fit the disk"):
        room.write(lambda: checkpoint.write(full_disk / "new", bytes(500_000)), threading.Event())
    assert [path.name for path in full_disk.iterdir()] == ["old"]


def test_a_run_that_is_stopped_waits_no_longer(full_disk: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        room.write(lambda: checkpoint.write(full_disk / "new", bytes(500_000)), stop)


def test_another_fault_is_not_waited_for(asked: list[bool]) -> None:
    def broken() -> Any:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        room.write(broken, threading.Event())
    assert not asked


def test_a_database_without_room_is_known_by_its_words() -> None:
    assert room.is_full(OperationalError("database or disk is full"))
    assert not room.is_full(OperationalError("database is locked"))
