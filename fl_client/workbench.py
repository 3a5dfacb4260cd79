"""The round in hand and the worker that trains it; how both give way to the owner, and go on.

Belongs to the session's thread: nothing here may be called from another. The longest wait is for a worker's
end.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from fl_client.frames import Frame
from fl_client.lending import Lent
from fl_client.warm_worker import Spawn, WarmWorker
from fl_client.work import Work
from fl_client.worker_process import WorkerProcess
from fl_client.yielding import Why, Yielding

log = logging.getLogger("constellation.session")

OWNER_RETURNED = "owner-returned"


class Desk(Protocol):
    """What hears of the work."""

    def on_able(self) -> None:
        """The worker is warm, or the round in hand goes on."""

    def on_unable(self, code: str, message: str) -> None:
        """This device can do nothing for the run, in no round."""

    def on_progress(self, work: Work, batch: int, batches: int) -> None: ...
    def on_parked(self, work: Work, examples: int) -> None: ...
    def on_answer(self, work: Work) -> None: ...
    def on_dropped(self, work: Work, code: str, message: str) -> None:
        """It ends without an answer; with a code, because something went wrong."""


class Workbench:
    def __init__(
        self, desk: Desk, spawn: Spawn, put: Callable[[tuple[WorkerProcess, Frame | None]], None]
    ) -> None:
        """`put` brings a worker's frame from its own thread to the session's, and so to `on_frame`."""
        self._desk = desk
        self._worker = WarmWorker(spawn, lambda process, frame: put((process, frame)))
        self._yielding = Yielding(self._worker)
        self._assignment: dict[str, Any] | None = None
        self.lent = Lent.freely()
        self.work: Work | None = None
        self.rows: int | None = None
        self.is_held = False
        self._was_parked = False  # and the platform knows

    @property
    def pids(self) -> list[int]:
        """Processes of ours beside this one. May be asked from any thread."""
        return self._worker.pids

    @property
    def is_able(self) -> bool:
        return self._worker.prepared and not self.is_held

    @property
    def is_free(self) -> bool:
        return self.is_able and self.work is None

    @property
    def due(self) -> float | None:
        """When `force` is due."""
        return self._yielding.due

    @property
    def _training(self) -> Work | None:
        return self.work if self.work and self.work.answer is None else None

    def begin(self, assignment: dict[str, Any]) -> None:
        self._assignment = assignment
        self._worker.proved_itself()
        if not self.is_held:
            self._worker.prepare(assignment)

    def take(self, work: Work) -> None:
        self.work = work
        self._train(work)

    def drop(self, code: str = "", message: str = "") -> None:
        """Stop the round in hand; with a code, say why."""
        work, self.work = self.work, None
        if work is None:
            return
        self._worker.cancel(work.instruction.round)
        work.forget()
        self._desk.on_dropped(work, code, message)

    def release(self) -> None:
        """No run any more. A worker that computes on is ended within a second."""
        if self._training:
            self._yielding.ask(Why.RELEASE)
        self.drop()
        self._assignment = None
        self._worker.rest()

    def end_if_idle(self) -> None:
        self._worker.end_if_idle()

    def end(self) -> None:
        self._worker.end()

    def hold(self) -> None:
        """The machine is wanted back: within a second nothing of ours computes."""
        if self.is_held:
            return
        self.is_held = True
        computes = self._training is not None or not self._worker.prepared
        if self._worker.is_running and computes:
            self._yielding.ask(Why.OWNER)
        else:
            self._give_memory_back()
            self.tell_parked()

    def go_on(self) -> None:
        if not self.is_held:
            return
        self.is_held = False
        if self._yielding.due is not None:
            # It was asked to rest and is about to; when it does, it is told to go on.
            self._yielding.relent()
            return
        lay_still = self._worker.is_still
        self._worker.let_go()
        if self._assignment is None:
            return
        if not self._worker.is_running:
            self._worker.prepare(self._assignment)
        elif (work := self._training) and lay_still:
            work.trains()
            self._tell_able()
        else:
            self._go_on_training()

    def lend(self, lent: Lent) -> None:
        self.lent = lent
        fits = self._worker.lend(lent)
        if self._yielding.due is not None:
            return
        if self.is_held and self._worker.takes_too_much():
            log.info("the worker holds more memory than the owner leaves it, and ends")
            self._end_worker()
        elif not self.is_held and not fits:
            self._move()

    def finish(self, run: int, round_number: int) -> None:
        """The round closes: hand in what there is."""
        work = self._training
        if work is None or work.at != {"run": run, "round": round_number}:
            return
        work.hand_in = True
        if self._yielding.due is not None:
            return
        if self.is_held or not self._worker.is_running:
            self._hand_in(work)
        else:
            self._yielding.ask(Why.HAND_IN)

    def force_if_due(self) -> bool:
        """True where there was something to force."""
        if not self._yielding.is_due():
            return False
        killed = self._yielding.force()
        if work := self._training:
            work.was_killed() if killed else work.rests()
        self._after_rest(killed)
        return True

    def tell_parked(self) -> None:
        """Say how far the round in hand is; where nothing was done, leave it to others at once."""
        work = self._training
        if work is None or self._yielding.due is not None:
            return
        head = work.head()
        if head and head.examples:
            self._was_parked = True
            self._desk.on_parked(work, head.examples)
        else:
            self.drop(OWNER_RETURNED, "The owner came back before anything was trained.")

    def on_frame(self, process: WorkerProcess, frame: Frame | None) -> None:
        if not self._worker.is_current(process):
            return
        if frame is None:
            self._on_worker_gone()
        elif frame.type == "hello":
            self._worker.greeted(frame.header)
        elif frame.type == "prepared":
            self._on_prepared(frame.header)
        elif frame.type in ("parked", "cancelled"):
            self._on_rest(frame)
        elif frame.type == "error" and frame.header.get("round") is None:
            self._on_unprepared(frame.header)
        elif (work := self._training) and work.is_meant_by(frame.header):
            self._on_work_frame(work, frame)
        elif frame.type in ("result", "error"):
            # Of a round that nobody wants any more: the worker rests all the same.
            self._yielding.settled()

    def _on_prepared(self, header: dict[str, Any]) -> None:
        if self._assignment is None or header["run"] != self._assignment["run"]:
            return
        self._worker.prepared = True
        self.rows = header["rows"]
        log.info("run %s is prepared: %s rows in %.1f s", header["run"], header["rows"], header["seconds"])
        if self.is_held:
            self._after_rest(killed=False)
        else:
            self._go_on_training()

    def _on_unprepared(self, header: dict[str, Any]) -> None:
        """Perhaps of a run that is over: the next one has to speak for itself."""
        if self._assignment and header.get("run") in (None, self._assignment["run"]):
            self._yielding.settled()
            self._desk.on_unable(header["code"], header["message"])

    def _on_rest(self, frame: Frame) -> None:
        if (work := self._training) and work.is_meant_by(frame.header):
            work.rests()
            self._after_rest(killed=False)
        elif self._yielding.why is Why.RELEASE:
            self._after_rest(killed=False)

    def _on_work_frame(self, work: Work, frame: Frame) -> None:
        header = frame.header
        if frame.type == "progress":
            self._desk.on_progress(work, header["batch"], header["batches"])
            return
        self._yielding.settled()
        if frame.type == "error":
            self.drop(header["code"], header["message"])
        elif frame.type == "result":
            self._worker.proved_itself()
            work.answer_with(header["examples"], header["metrics"], frame.payload)
            self._desk.on_answer(work)
        if self.is_held:
            self._give_memory_back()

    def _on_worker_gone(self) -> None:
        """The round in hand goes on in a new worker, but not for ever."""
        may_go_on = self._worker.died()
        if work := self._training:
            work.was_killed()
        if self._assignment is None:
            self._yielding.settled()
            return
        log.warning("the worker is gone")
        if not may_go_on and not self.work:
            self._desk.on_unable("worker-died", "The training process dies as soon as it starts.")
            return
        if not may_go_on:
            self.drop("worker-died", "The training process died again and again.")
            self._worker.proved_itself()
        self._after_rest(killed=True)

    def _after_rest(self, killed: bool) -> None:
        """The worker rests, lies still or is gone. What now?"""
        why = self._yielding.settled()
        work = self._training
        if work and work.hand_in:
            self._hand_in(work)
        elif self.is_held:
            self._give_memory_back()
            self.tell_parked()
        elif why is Why.MOVE or killed:
            self._worker.end()
            self._prepare_again()
        else:
            self._go_on_training()

    def _go_on_training(self) -> None:
        if (work := self._training) and self._worker.prepared:
            self._train(work)
        self._tell_able()

    def _tell_able(self) -> None:
        """That a round goes on is news only where it was said to rest."""
        if self._was_parked or self.work is None:
            self._was_parked = False
            self._desk.on_able()

    def _train(self, work: Work) -> None:
        resume = work.head() is not None
        work.trains()
        self._worker.train(work.instruction, work.keep, resume=resume)

    def _hand_in(self, work: Work) -> None:
        if self._worker.is_still:
            # What it would still compute belongs to a round that is over.
            self._end_worker()
        if work.answer_with_what_is_kept():
            self._desk.on_answer(work)
        else:
            self.drop(OWNER_RETURNED, "The round closed before anything was trained.")
        if not self.is_held and not self._worker.is_running:
            self._prepare_again()

    def _move(self) -> None:
        """The worker sits on a GPU that it may not use any more, or may have one now."""
        if self._training:
            self._yielding.ask(Why.MOVE)
        elif self._worker.is_running:
            self._worker.end()
            self._prepare_again()

    def _prepare_again(self) -> None:
        if self._assignment:
            self._worker.prepare(self._assignment)

    def _give_memory_back(self) -> None:
        """A GPU's at once, by ending; the machine's own when the policy asks for it."""
        if self._worker.holds_a_gpu or self._worker.takes_too_much():
            self._end_worker()

    def _end_worker(self) -> None:
        lay_still = self._worker.is_still
        self._worker.end()
        if lay_still and (work := self._training):
            work.was_killed()
