"""Giving the processor back in a second: asked first, then stopped by force.

A worker that is asked rests at its next batch. One whose batch lasts longer is suspended where it is; on a
GPU it is killed, because a live process keeps its context and its memory there. What it kept on disk stands.
"""

import time
from enum import StrEnum, auto

from fl_client.warm_worker import WarmWorker

PARK_SECONDS = 1.0


class Why(StrEnum):
    OWNER = auto()  # it may go on later
    HAND_IN = auto()  # the round closes
    MOVE = auto()  # it has to go on in another process
    RELEASE = auto()  # nobody wants the result


class Yielding:
    def __init__(self, worker: WarmWorker) -> None:
        self._worker = worker
        self.why: Why | None = None
        self.due: float | None = None

    def ask(self, why: Why) -> None:
        """Within a second the worker rests or `force` is due."""
        self.why = why
        if self.due is None and not self._worker.is_still:
            self.due = time.monotonic() + PARK_SECONDS
        if why is not Why.RELEASE:
            self._worker.park()

    def relent(self) -> None:
        """It need not rest after all; what it was asked stands until it answers."""
        self.due = None

    def is_due(self) -> bool:
        return self.due is not None and time.monotonic() >= self.due

    def settled(self) -> Why | None:
        """The worker rests, or is gone; why it was asked to."""
        why, self.why, self.due = self.why, None, None
        return why

    def force(self) -> bool:
        """True where the worker was killed, False where it lies still and keeps its place in memory."""
        self.due = None
        if self.why is Why.OWNER and not self._worker.holds_a_gpu:
            self._worker.hold_still()
            return False
        self._worker.kill()
        return True
