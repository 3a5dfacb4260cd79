"""What a device does between being reserved and being released: link open, worker warm, round after round.

Everything happens on one thread that takes commands from a queue, so that no two things happen at once.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from flwr.app import Message, RecordDict

from fl_client import exchange
from fl_client.connection import Connection
from fl_client.errors import ClientError
from fl_client.exchange import Instruction, Link
from fl_client.fleet import FleetError
from fl_client.frames import Frame
from fl_client.warm_worker import OnFrame, WarmWorker
from fl_client.worker_process import WorkerProcess

log = logging.getLogger("constellation.session")

# Wake-ups are hints; a device that is ready looks by itself this often. Seconds.
LOOK_EVERY = 5.0
LONGEST_WAIT = 60.0
# Phases of small models pass faster than anybody can see them.
VISIBLE_BYTES = 2_000_000


@dataclass
class _Work:
    message: Message
    instruction: Instruction
    started: float = field(default_factory=time.monotonic)
    answer: RecordDict | None = None

    @property
    def at(self) -> dict[str, int]:
        return {"run": self.instruction.run, "round": self.instruction.round}

    def is_meant_by(self, header: dict[str, Any]) -> bool:
        """A worker's errors name their round only."""
        return self.at == {"run": header.get("run", self.instruction.run), "round": header.get("round")}


class Session:
    def __init__(
        self,
        open_link: Callable[[], AbstractContextManager[Link]],
        send: Callable[[dict[str, Any]], None],
        spawn_worker: Callable[[OnFrame], WorkerProcess] = WorkerProcess,
    ) -> None:
        """`open_link` makes a connection to the engine; `send` puts a message on the device's socket."""
        self._send = send
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._connection = Connection(open_link)
        self._worker = WarmWorker(spawn_worker, lambda *frame: self._commands.put(("frame", frame)))
        self._assignment: dict[str, Any] | None = None
        self._unable: tuple[str, str] | None = None
        self._work: _Work | None = None
        self._done_round: int | None = None
        self._rows: int | None = None
        self._answered: _Work | None = None
        self._woken = False
        self._next_look = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()

    def start(self, assignment: dict[str, Any]) -> None:
        """The device is reserved; said again after a reconnection, it answers again that it is ready."""
        self._commands.put(("start", assignment))

    def wake(self, run: int, round: int) -> None:
        self._commands.put(("wake", (run, round)))

    def abandon(self, run: int, round: int) -> None:
        self._commands.put(("abandon", (run, round)))

    def release(self, run: int | None = None) -> None:
        """The reservation is over; None releases whatever there is."""
        self._commands.put(("release", run))

    def close(self, patience: float = 5.0) -> None:
        """Give everything back and end the worker."""
        self._closed.set()
        self._commands.put(("close", None))
        self._thread.join(patience)
        self._worker.end()

    def _run(self) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            "start": self._on_start,
            "wake": self._on_wake,
            "abandon": self._on_abandon,
            "release": self._on_release,
            "frame": self._on_frame,
            "time": self._on_time,
        }
        while not self._closed.is_set():
            try:
                kind, value = self._commands.get(timeout=self._next_wait())
            except queue.Empty:
                kind, value = "time", None
            if kind in handlers:
                self._guard(handlers[kind], value)
        self._guard(self._on_release, None)

    def _guard(self, handler: Callable[[Any], None], value: Any) -> None:
        try:
            handler(value)
        except FleetError as exc:
            self._connection.failed(exc)
        except Exception:
            log.exception("session")
            message = "The client failed; its log says more."
            if self._work:
                self._drop_work("internal", message)
            else:
                self._give_up("internal", message)

    def _next_wait(self) -> float:
        until = time.monotonic() + LONGEST_WAIT
        if self._connection.retry_at is not None:
            until = min(until, self._connection.retry_at)
        elif self._is_free():
            until = min(until, self._next_look)
        return max(0.0, until - time.monotonic())

    def _is_free(self) -> bool:
        return self._connection.link is not None and self._worker.prepared and self._work is None

    def _on_time(self, _: object) -> None:
        if self._assignment is None:
            self._worker.end_if_idle()
        elif self._connection.is_due():
            self._connect()
        elif self._is_free() and time.monotonic() >= self._next_look:
            self._look()

    def _on_start(self, assignment: dict[str, Any]) -> None:
        known = self._assignment
        if known and (known["run"], known["fence"]) == (assignment["run"], assignment["fence"]):
            self._report()
            return
        self._drop_work()
        self._connection.close()
        self._assignment = assignment
        self._unable = self._done_round = self._answered = None
        self._worker.proved_itself()
        self._worker.prepare(assignment)
        self._connect()

    def _connect(self) -> None:
        self._connection.open()
        if self._work and self._work.answer:
            self._upload()
        self._report()

    def _report(self) -> None:
        """Take what lies in the engine, then say what is in hand: what is not will be sent again."""
        if self._unable:
            self._tell_failed(None, *self._unable)
        elif self._assignment and self._connection.link and self._worker.prepared:
            if self._work is None:
                self._look()
            in_hand = self._work.instruction.round if self._work else self._done_round
            at = {"run": self._assignment["run"], "fence": self._assignment["fence"], "round": in_hand}
            self._send({"type": "ready", **at, "rows": self._rows})

    def _on_wake(self, at: tuple[int, int]) -> None:
        run, round_number = at
        if self._assignment is None or self._assignment["run"] != run:
            return
        if self._is_free():
            self._look()
            self._repeat_uploaded(round_number)
        elif self._work is None or round_number > self._work.instruction.round:
            self._woken = True

    def _repeat_uploaded(self, round_number: int) -> None:
        """Woken for a round that is done: nobody heard so."""
        if self._answered and self._answered.instruction.round == round_number:
            self._send({"type": "uploaded", **self._answered.at})

    def _look(self) -> None:
        """Pull until there is a message to work on or none at all."""
        assert self._connection.link is not None
        self._woken = False
        while self._work is None:
            self._next_look = time.monotonic() + LOOK_EVERY
            message = self._connection.link.pull()
            if message is None:
                return
            self._take(message)

    def _take(self, message: Message) -> None:
        assert self._assignment is not None
        try:
            instruction = exchange.read(message.content)
        except ClientError as exc:
            self._tell_failed(None, exc.code, str(exc))
            return
        if self._answered and self._answered.at == {"run": instruction.run, "round": instruction.round}:
            # The answer was lost after it was handed in.
            self._work = replace(self._answered, message=message)
            self._upload()
            return
        mine = (instruction.run, instruction.fence) == (self._assignment["run"], self._assignment["fence"])
        if not mine or (self._done_round is not None and instruction.round <= self._done_round):
            log.info("a message of run %s, round %s is not for now", instruction.run, instruction.round)
            return
        self._answered = None
        self._work = _Work(message, instruction)
        self._worker.train(instruction)

    def _on_abandon(self, at: tuple[int, int]) -> None:
        work = self._work
        self._answered = None
        if work and (work.instruction.run, work.instruction.round) == at:
            self._drop_work()
            self._done_round = at[1]

    def _on_release(self, run: int | None) -> None:
        if self._assignment is None or run not in (None, self._assignment["run"]):
            return
        self._drop_work()
        self._connection.close()
        self._assignment = self._answered = None
        self._worker.rest()

    def _on_frame(self, value: tuple[WorkerProcess, Frame | None]) -> None:
        process, frame = value
        if not self._worker.is_current(process):
            return
        if frame is None:
            self._on_worker_gone()
        elif frame.type == "prepared":
            self._on_prepared(frame.header)
        elif frame.type == "error" and frame.header.get("round") is None:
            self._give_up(frame.header["code"], frame.header["message"])
        elif self._work and not self._work.answer and self._work.is_meant_by(frame.header):
            self._on_work_frame(self._work, frame)

    def _on_prepared(self, header: dict[str, Any]) -> None:
        if self._assignment is None or header["run"] != self._assignment["run"]:
            return
        self._worker.prepared = True
        self._rows = header["rows"]
        log.info("run %s is prepared: %s rows in %.1f s", header["run"], header["rows"], header["seconds"])
        if self._work and not self._work.answer:
            self._worker.train(self._work.instruction)
        else:
            self._report()

    def _on_work_frame(self, work: _Work, frame: Frame) -> None:
        header = frame.header
        if frame.type == "progress":
            self._tell_phase(work, "training", batch=header["batch"], batches=header["batches"])
        elif frame.type == "error":
            self._drop_work(header["code"], header["message"])
        elif frame.type == "result":
            self._worker.proved_itself()
            if len(frame.payload) > VISIBLE_BYTES:
                self._tell_phase(work, "uploading")
            work.answer = exchange.write(
                work.instruction, header["examples"], header["metrics"], frame.payload
            )
            self._upload()

    def _upload(self) -> None:
        """Hand in the answer. Without a link it is kept until there is one."""
        work, link = self._work, self._connection.link
        if work is None or work.answer is None or link is None:
            return
        link.reply(work.message, work.answer, time.monotonic() - work.started)
        self._work, self._answered = None, work
        self._done_round = work.instruction.round
        self._send({"type": "uploaded", **work.at})
        link.confirm(work.message)
        self._next_look = 0.0 if self._woken else time.monotonic() + LOOK_EVERY

    def _on_worker_gone(self) -> None:
        """The round in hand goes on in a new worker, but not for ever."""
        may_go_on = self._worker.died()
        if self._assignment is None or self._unable:
            return
        log.warning("the worker is gone")
        if not may_go_on and not self._work:
            self._give_up("worker-died", "The training process dies as soon as it starts.")
            return
        if not may_go_on:
            self._drop_work("worker-died", "The training process died again and again.")
            self._worker.proved_itself()
        self._worker.prepare(self._assignment)

    def _drop_work(self, code: str = "", message: str = "") -> None:
        """Stop the round in hand; with a code, say why."""
        work, self._work = self._work, None
        if work is None:
            return
        self._worker.cancel(work.instruction.round)
        self._next_look = 0.0 if self._woken else time.monotonic() + LOOK_EVERY
        if code:
            self._done_round = work.instruction.round
            self._tell_failed(work.instruction.round, code, message)

    def _give_up(self, code: str, message: str) -> None:
        """This device can do nothing for the run, in no round."""
        self._unable = (code, message)
        self._tell_failed(None, code, message)

    def _tell_phase(
        self, work: _Work, phase: str, batch: int | None = None, batches: int | None = None
    ) -> None:
        self._send({"type": "progress", **work.at, "phase": phase, "batch": batch, "batches": batches})

    def _tell_failed(self, round_number: int | None, code: str, message: str) -> None:
        if self._assignment:
            at = {"run": self._assignment["run"], "round": round_number}
            self._send({"type": "failed", **at, "code": code, "message": message})
