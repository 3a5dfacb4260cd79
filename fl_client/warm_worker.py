"""The session's worker: started when there is work, prepared for one run, replaced when it dies."""

import logging
import time
from collections.abc import Callable
from typing import Any

from fl_client.exchange import Instruction
from fl_client.frames import Frame
from fl_client.worker_process import WorkerProcess

log = logging.getLogger("constellation.session")

IDLE_SECONDS = 600.0
# A worker that died is replaced so often before something else is tried or given up.
MAX_RESTARTS = 2

OnFrame = Callable[[WorkerProcess, Frame | None], None]


class WarmWorker:
    def __init__(self, spawn: Callable[[OnFrame], WorkerProcess], on_frame: OnFrame) -> None:
        self._spawn = spawn
        self._on_frame = on_frame
        self._process: WorkerProcess | None = None
        self._deaths = 0
        self._idle_since = time.monotonic()
        self.prepared = False

    def prepare(self, assignment: dict[str, Any]) -> None:
        self.prepared = False
        if self._process is None:
            self._process = self._spawn(self._on_frame)
        self._process.send({"type": "prepare", "assignment": assignment})

    def train(self, instruction: Instruction) -> None:
        assert self._process is not None
        header = {"run": instruction.run, "round": instruction.round, "fence": instruction.fence}
        self._process.send({"type": "train", **header, "config": instruction.config}, instruction.weights)

    def cancel(self, round_number: int) -> None:
        if self._process:
            self._process.send({"type": "cancel", "round": round_number})

    def is_current(self, process: WorkerProcess) -> bool:
        return process is self._process

    def proved_itself(self) -> None:
        """It finished something: deaths are counted anew."""
        self._deaths = 0

    def died(self) -> bool:
        """The process is gone, perhaps killed for its memory. False when another will hardly do better."""
        self._process = None
        self.prepared = False
        self._deaths += 1
        return self._deaths <= MAX_RESTARTS

    def rest(self) -> None:
        """No run any more; the process stays warm for the next one."""
        self.prepared = False
        self._idle_since = time.monotonic()

    def end_if_idle(self) -> None:
        if self._process and time.monotonic() - self._idle_since > IDLE_SECONDS:
            log.info("the worker was idle for %.0f s and ends", IDLE_SECONDS)
            self.end()

    def end(self) -> None:
        process, self._process = self._process, None
        self.prepared = False
        if process:
            process.end()
