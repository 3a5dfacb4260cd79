"""The session's worker: started when there is work, kept warm, held still, replaced when it dies."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fl_client.exchange import Instruction
from fl_client.frames import Frame
from fl_client.lending import Lent
from fl_client.worker_process import WorkerProcess

log = logging.getLogger("constellation.session")

IDLE_SECONDS = 600.0
# A worker that died is replaced so often before something else is tried or given up.
MAX_RESTARTS = 2

OnFrame = Callable[[WorkerProcess, Frame | None], None]
Spawn = Callable[[OnFrame, Mapping[str, str]], WorkerProcess]


class WarmWorker:
    def __init__(self, spawn: Spawn, on_frame: OnFrame) -> None:
        self._spawn = spawn
        self._on_frame = on_frame
        self._process: WorkerProcess | None = None
        self._deaths = 0
        self._idle_since = time.monotonic()
        self._device = ""
        self._lent = self._wanted = Lent.freely()
        self.prepared = False
        self.is_still = False  # suspended

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pids(self) -> list[int]:
        process = self._process
        return [process.pid] if process else []

    @property
    def holds_a_gpu(self) -> bool:
        """A live process keeps its context and memory there, whatever it does, from its greeting on."""
        return self._process is not None and self._device not in ("", "cpu")

    def lend(self, lent: Lent) -> bool:
        """What the worker gets from now on. False when only another process can be given that.

        One that has not greeted yet sits on no GPU; the next call sees where it went.
        """
        self._wanted = lent
        if self._process is None:
            return True
        if lent.threads != self._lent.threads:
            self._process.send({"type": "limits", "threads": lent.threads})
            self._lent = replace(self._lent, threads=lent.threads)
        return lent.gpus == self._lent.gpus or (not lent.gpus and self._device in ("", "cpu"))

    def takes_too_much(self) -> bool:
        limit = self._wanted.ram_bytes
        return self._process is not None and limit is not None and self._process.memory() > limit

    def prepare(self, assignment: dict[str, Any]) -> None:
        self.prepared = False
        if self._process is None:
            self._lent, self._device, self.is_still = self._wanted, "", False
            self._process = self._spawn(self._on_frame, self._lent.variables())
        self._process.send({"type": "prepare", "assignment": assignment})

    def greeted(self, header: Mapping[str, Any]) -> None:
        self._device = str(header.get("device", ""))

    def train(self, instruction: Instruction, keep: Path, *, resume: bool) -> None:
        """`keep` is where it leaves its snapshots, and where it finds one to go on from."""
        assert self._process is not None
        at = {"run": instruction.run, "round": instruction.round, "fence": instruction.fence}
        kept = {"keep": str(keep), "resume": resume}
        self._process.send({"type": "train", **at, "config": instruction.config, **kept}, instruction.weights)

    def cancel(self, round_number: int) -> None:
        if self._process:
            self._process.send({"type": "cancel", "round": round_number})

    def park(self) -> None:
        """Ask it to keep its place and rest at the next batch."""
        if self._process:
            self._process.send({"type": "park"})

    def hold_still(self) -> None:
        if self._process:
            self.is_still = True
            self._process.suspend()

    def let_go(self) -> None:
        if self._process and self.is_still:
            self.is_still = False
            self._process.resume()

    def is_current(self, process: WorkerProcess) -> bool:
        return process is self._process

    def proved_itself(self) -> None:
        """It finished something: deaths are counted anew."""
        self._deaths = 0

    def died(self) -> bool:
        """The process is gone, perhaps killed for its memory. False when another will hardly do better."""
        self._forget()
        self._deaths += 1
        return self._deaths <= MAX_RESTARTS

    def rest(self) -> None:
        """No run any more; the process stays warm for the next one, unless it sits on a GPU."""
        self.prepared = False
        self._idle_since = time.monotonic()
        if self.holds_a_gpu:
            self.end()

    def end_if_idle(self) -> None:
        if self._process and time.monotonic() - self._idle_since > IDLE_SECONDS:
            log.info("the worker was idle for %.0f s and ends", IDLE_SECONDS)
            self.end()

    def kill(self) -> None:
        """End it now, whatever it does; what it kept on disk stays."""
        if process := self._forget():
            process.kill()

    def end(self) -> None:
        if self.is_still:
            self.kill()
        elif process := self._forget():
            process.end()

    def _forget(self) -> WorkerProcess | None:
        process, self._process = self._process, None
        self.prepared = self.is_still = False
        return process
