"""A ServerApp that ends is noted by the SuperExec that started it."""

import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResultStatus

from fl_server.flower import superexec
from fl_server.platform import exits
from tests.waiting import until


def test_an_end_is_noted_for_its_run_alone(tmp_path: Path) -> None:
    assert not exits.noted(tmp_path, "77")
    exits.note(tmp_path, "77")
    exits.note(tmp_path, "77")
    assert exits.noted(tmp_path, "77")
    assert not exits.noted(tmp_path, "78")
    assert not exits.noted(tmp_path, "")


def test_notes_are_forgotten_after_a_day(tmp_path: Path) -> None:
    exits.note(tmp_path, "77")
    long_ago = time.time() - exits.KEEP_SECONDS - 1
    os.utime(tmp_path / exits.FOLDER / "77", (long_ago, long_ago))
    exits.note(tmp_path, "78")
    assert (exits.noted(tmp_path, "77"), exits.noted(tmp_path, "78")) == (False, True)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> superexec.WatchingExecutor:
    """Has started a process for run 77, which lives for a minute unless it is killed."""
    program = tmp_path / "serverapp"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    monkeypatch.setitem(TASK_TYPE_TO_COMMAND, TaskType.SERVER_APP, str(program))
    executor = superexec.WatchingExecutor(tmp_path)
    executor.run_id = "77"
    spec = ExecutionSpec(TaskType.SERVER_APP, "127.0.0.1:1", "token", False, None, False, None, True, 5)
    assert executor.launch(spec).status == LaunchResultStatus.ACCEPTED
    return executor


def test_a_serverapp_that_is_killed_is_noted_and_leaves_no_zombie(
    started: superexec.WatchingExecutor, tmp_path: Path
) -> None:
    started.reconcile()
    assert not exits.noted(tmp_path, "77")
    process = started._running["77"]
    process.kill()
    until(lambda: started.reconcile() or exits.noted(tmp_path, "77"), "the end is noted")
    assert process.returncode is not None
    assert not started._running


def test_a_disk_that_is_full_does_not_end_the_superexec(
    started: superexec.WatchingExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exits, "note", full)
    started._running["77"].kill()
    started._running["77"].wait()
    started.reconcile()
    assert not started._running


def test_the_plugin_tells_whose_process_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = superexec.WatchingPlugin.__new__(superexec.WatchingPlugin)
    plugin.executor = SimpleNamespace(run_id="")
    seen = []
    monkeypatch.setattr(
        superexec.AutoExecPlugin, "launch_task", lambda self, token, task: seen.append(self.executor.run_id)
    )
    plugin.launch_task("token", SimpleNamespace(run_id=2**63 + 5))
    assert seen == [str(2**63 + 5)]


def test_the_launcher_takes_the_options_of_flower() -> None:
    command = ["python", "-m", "fl_server.flower.superexec", "--help"]
    shown = subprocess.run(
        [superexec.sys.executable, *command[1:]],
        env={**os.environ, "FLWR_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "--superexec-auth-secret-file" in shown.stdout
