"""Flower's SuperExec, which also notices when a ServerApp that it started ends.

Stock, it starts processes and forgets them: one that is killed before it says anything is missed after most
of a minute, and stays a zombie.

Runs without Django: `python -m fl_server.flower.superexec` with the options of `flower-superexec`.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

from flwr.proto.task_pb2 import Task
from flwr.supercore.cli import flower_superexec
from flwr.supercore.constant import TASK_TYPE_TO_APPIO_API_ADDRESS_ARG, TASK_TYPE_TO_COMMAND
from flwr.supercore.superexec import run_superexec
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResult
from flwr.supercore.superexec.plugin import AutoExecPlugin

from fl_server.platform import exits

logger = logging.getLogger(__name__)


class WatchingExecutor(SubprocessExecutor):
    """Keeps its processes in sight; `reconcile` is called between two looks for work."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.run_id = ""

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        command = [
            *(TASK_TYPE_TO_COMMAND[spec.task_type], TASK_TYPE_TO_APPIO_API_ADDRESS_ARG[spec.task_type]),
            *(spec.runtime_api_address, "--token", spec.token),
            *(("--root-certificates", spec.root_certificates_path) if spec.root_certificates_path else ()),
            *(("--parent-pid", str(spec.parent_pid)) if spec.parent_pid is not None else ()),
        ]
        silent = subprocess.DEVNULL if spec.suppress_output else None
        self._running[self.run_id] = subprocess.Popen(command, stdout=silent, stderr=silent)
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        for run_id, process in list(self._running.items()):
            if process.poll() is None:
                continue
            del self._running[run_id]
            try:
                exits.note(self._home, run_id)
            except OSError as exc:
                logger.warning("the end of run %s is not noted: %s", run_id, exc)


class WatchingPlugin(AutoExecPlugin):
    """Tells the executor whose process it is about to start, which a specification does not say."""

    def launch_task(self, token: str, task: Task) -> LaunchResult:
        self.executor.run_id = str(task.run_id)
        return super().launch_task(token=token, task=task)


def main() -> None:
    executor = WatchingExecutor(Path(os.environ["FLWR_HOME"]))
    run_superexec.get_executor = lambda *_, **__: executor
    run_superexec.AutoExecPlugin = WatchingPlugin
    sys.argv[0] = "flower-superexec"
    flower_superexec()


if __name__ == "__main__":
    main()
