import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fl_server.platform import groups
from fl_server.platform.stopping import Stop
from fl_server.platform.supervisor import Service, Supervisor

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0
SLEEPER = "import time; time.sleep(600)"
# Notes its child's pid, and neither of the two listens to SIGTERM's first asking.
PARENT = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


def until(condition: Callable[[], object], tick: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        tick()
        time.sleep(0.02)


def service(name: str, *command: str, **options: bool) -> Service:
    return Service(name, command, dict(os.environ), str(ROOT), **options)


def python(name: str, code: str, *arguments: str, **options: bool) -> Service:
    return service(name, sys.executable, "-c", code, *arguments, **options)


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, warnings: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path, warn=warnings.append)
    yield made
    made.stop()


def test_a_killed_child_is_started_again(supervisor: Supervisor, warnings: list[str]) -> None:
    supervisor.start(python("one", SLEEPER))
    first = supervisor.pid("one")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.pid("one") not in (None, first), supervisor.tick)
    assert warnings[0].startswith("one ended with status -9; it starts again in 0.5 s")


def test_delays_grow_while_a_child_keeps_dying(supervisor: Supervisor, warnings: list[str]) -> None:
    supervisor.start(python("one", "raise SystemExit(3)"))
    until(lambda: len(warnings) == 3, supervisor.tick)
    assert [line.split(" in ")[1].split()[0] for line in warnings] == ["0.5", "1", "2"]


def test_a_command_that_does_not_exist_is_reported_and_tried_again(
    supervisor: Supervisor, warnings: list[str]
) -> None:
    supervisor.start(service("one", "no-such-program"))
    assert warnings[0].startswith("one cannot be started")
    until(lambda: len(warnings) == 2, supervisor.tick)


def test_stopping_ends_grandchildren_too(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    supervisor.start(python("parent", PARENT, str(note)))
    until(lambda: note.exists() and note.read_text())
    grandchild = int(note.read_text())
    supervisor.stop()
    assert gone(grandchild)


def test_a_child_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, 1); print('deaf', flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    assert child.stdout.readline() == b"deaf\n"
    groups.end({child.pid}, patience=0.2)
    assert child.wait(5) == -signal.SIGKILL
    child.stdout.close()


def test_children_of_a_dead_child_end_before_it_starts_again(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    supervisor.start(python("parent", PARENT, str(note)))
    until(lambda: note.exists() and note.read_text())
    grandchild, before = int(note.read_text()), supervisor.pid("parent")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: supervisor.pid("parent") is None, supervisor.tick)
    assert gone(grandchild)


def test_a_service_added_from_another_thread_starts(supervisor: Supervisor) -> None:
    thread = threading.Thread(target=lambda: supervisor.add(python("late", SLEEPER)))
    thread.start()
    thread.join()
    supervisor.tick()
    assert supervisor.pid("late")


def test_once_returns_the_exit_status(supervisor: Supervisor) -> None:
    stop = Stop()
    assert supervisor.once(python("release", "raise SystemExit(7)"), stop, patience=20) == 7
    assert supervisor.once(python("release", SLEEPER), stop, patience=0.3) == -1


def test_a_supervisor_killed_outright_leaves_nothing(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
import os, sys
from pathlib import Path
from fl_server.platform.stopping import Stop
from fl_server.platform.supervisor import Service, Supervisor
one = Supervisor(Path({str(tmp_path)!r}))
one.start(Service("parent", (sys.executable, "-c", {PARENT!r}, {str(note)!r}), dict(os.environ), "."))
one.run(Stop())
"""
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until(lambda: note.exists() and note.read_text())
    grandchild = int(note.read_text())
    child = psutil.Process(grandchild).ppid()
    killed.kill()
    killed.wait(5)
    until(lambda: gone(child) and gone(grandchild))


def test_each_start_rotates_the_log_and_a_restart_appends(tmp_path: Path) -> None:
    for text in ("old", "new"):
        one = Supervisor(tmp_path, warn=lambda line: None)
        one.start(python("one", f"print({text!r})"))
        until(lambda one=one, text=text: one.tail("one") == [text])
        one.stop()
    assert (tmp_path / "one.log").read_text() == "new\n"
    assert (tmp_path / "one.log.1").read_text() == "old\n"
