"""What the platform writes to fails for a while: the database is locked, the disk is full."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import postgres
from tests.faults.cluster import Cluster, opened

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
LOCKED = 10.0  # seconds
FULL = 8.0  # seconds
DISK = 8  # MB; a job's checkpoints have under 2


def test_a_job_outlasts_a_database_that_is_locked(cluster, noted) -> None:
    def fault(_) -> float:
        path = cluster.platform.home / "constellation.sqlite3"
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            at = time.time()
            time.sleep(LOCKED)
            connection.execute("ROLLBACK")
        return at

    outcome = cluster.with_fault("locked database", fault)
    assert noted("database locked for 10 s", outcome) >= LOCKED
    assert outcome.same_as_undisturbed() > len(outcome.rounds)


@pytest.fixture
def small_disk(cluster) -> Iterator[Path]:
    """The checkpoints on a disk of their own, which is easily filled."""
    folder = cluster.platform.home / "checkpoints"
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if mount.returncode:
        pytest.skip(f"a disk can be mounted by root only: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_job_outlasts_a_full_disk(cluster, noted, small_disk) -> None:
    def fault(_) -> float:
        filler = small_disk / "filler"
        at = time.time()
        with filler.open("wb", buffering=0) as file:
            for block in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(bytes(block))
                except OSError:
                    continue
        time.sleep(FULL)
        filler.unlink()
        return at

    outcome = cluster.with_fault("full disk", fault)
    assert noted("disk full for 8 s", outcome) >= FULL - 1
    assert outcome.same_as_undisturbed() > len(outcome.rounds)
    assert not list(small_disk.rglob(".*")), "half-written files are left"


@pytest.fixture
def on_postgres(cluster, tmp_path) -> Iterator[tuple[Cluster, postgres.Server]]:
    if postgres.programs() is None:
        pytest.skip("needs PostgreSQL's server programs, Debian's package postgresql")
    # Both platforms at once would be more machines than this one can be.
    for client in cluster.platform.clients:
        client.stop()
    with postgres.running() as server, opened(tmp_path, DATABASE_URL=server.url) as made:
        made.undisturbed()
        yield made, server


def test_a_job_outlasts_a_restart_of_postgresql(on_postgres, noted) -> None:
    cluster, server = on_postgres
    outcome = cluster.with_fault("PostgreSQL", lambda _: server.restart())
    noted("PostgreSQL restarted", outcome)
    assert outcome.same_as_undisturbed() > len(outcome.rounds)
