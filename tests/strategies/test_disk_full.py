"""Disks that really are full: a limit on the size of files in a child process, and a small file system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strategies import checkpoint
from strategies.exceptions import DiskFull

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import resource, sys
from pathlib import Path
from strategies import checkpoint
from strategies.exceptions import DiskFull
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint.write(Path(sys.argv[1]), bytes(1_000_000))
except DiskFull as exc:
    print(exc)
"""


def test_a_file_larger_than_allowed_leaves_nothing_behind(tmp_path):
    path = tmp_path / "job-000001" / "model.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "model.safetensors (1000000 bytes) does not fit the disk" in done.stdout
    assert os.listdir(path.parent) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False)
    if made.returncode:
        pytest.skip("only root mounts a file system")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_keeps_what_it_has_and_takes_more_once_there_is_room(small_disk):
    checkpoint.write(small_disk / "old", bytes(700_000))
    with pytest.raises(DiskFull, match="No space left on device"):
        checkpoint.write(small_disk / "new", bytes(700_000))
    assert os.listdir(small_disk) == ["old"]
    (small_disk / "old").unlink()
    assert checkpoint.write(small_disk / "new", bytes(700_000)).size == 700_000
