import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fl_server.platform import ports
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler of its own for the signal."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A SuperExec whose SuperLink has not come up yet."""
    settings = {"CONSTELLATION_HOME": str(tmp_path), "CONSTELLATION_ENGINE_PORT": str(ports.free())}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "superexec"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: catches(process.pid, signal.SIGTERM), "it waits")
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_it_ends_at_once_when_it_is_stopped_while_it_waits_for_the_superlink(
    waiting: "subprocess.Popen[str]", number: signal.Signals
) -> None:
    waiting.send_signal(number)
    _, complaints = waiting.communicate(timeout=2)
    assert (waiting.returncode, complaints) == (0, "")
