"""What a device does between being reserved and being released: link open, worker warm, round after round.

Everything happens on one thread that takes commands from a queue, so that no two things happen at once.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.app import Message

from fl_client import energy, exchange
from fl_client.connection import Connection
from fl_client.errors import ClientError
from fl_client.exchange import Link
from fl_client.fleet import FleetError
from fl_client.lending import Lent
from fl_client.report import Report, Send
from fl_client.warm_worker import Spawn
from fl_client.work import SNAPSHOT, Work
from fl_client.workbench import Workbench
from fl_client.worker_process import WorkerProcess

log = logging.getLogger("constellation.session")

# Wake-ups are hints; a device that is ready looks by itself this often. Seconds.
LOOK_EVERY = 5.0
LONGEST_WAIT = 60.0
# Phases of small models pass faster than anybody can see them.
VISIBLE_BYTES = 2_000_000

OnEnd = Callable[[Work, str], None]


class Session:
    def __init__(
        self,
        open_link: Callable[[], AbstractContextManager[Link]],
        send: Send,
        folder: Path,
        spawn_worker: Spawn = WorkerProcess,
        on_end: OnEnd = lambda work, outcome: None,
    ) -> None:
        """`open_link` makes a connection to the engine; `send` puts a message on the device's socket.

        `folder` keeps what is needed to go on with a round; `on_end` hears how each round ended: "uploaded",
        "partial", "dropped" or a code.
        """
        self._say = Report(send)
        self._keep = folder / SNAPSHOT
        self._on_end = on_end
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._connection = Connection(open_link)
        self._bench = Workbench(self, spawn_worker, lambda frame: self._commands.put(("frame", frame)))
        self._assignment: dict[str, Any] | None = None
        self._unable: tuple[str, str] | None = None
        self._done_round: int | None = None
        self._answered: Work | None = None
        self._woken = False
        self._next_look = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()

    @property
    def is_lent(self) -> bool:
        return self._assignment is not None

    def pids(self) -> list[int]:
        """Processes of ours beside this one."""
        return self._bench.pids

    def start(self, assignment: dict[str, Any]) -> None:
        """The device is reserved; said again after a reconnection, it answers again that it is ready."""
        self._commands.put(("start", assignment))

    def wake(self, run: int, round: int) -> None:
        self._commands.put(("wake", (run, round)))

    def abandon(self, run: int, round: int) -> None:
        self._commands.put(("abandon", (run, round)))

    def finish(self, run: int, round: int) -> None:
        """The round closes: hand in what there is."""
        self._commands.put(("finish", (run, round)))

    def release(self, run: int | None = None) -> None:
        """The reservation is over; None releases whatever there is."""
        self._commands.put(("release", run))

    def hold(self) -> None:
        """The machine is wanted back: within a second nothing of ours computes."""
        self._commands.put(("hold", None))

    def go_on(self) -> None:
        self._commands.put(("go-on", None))

    def lend(self, lent: Lent) -> None:
        """How much of the machine there is from now on; said again, the worker's memory is looked at."""
        self._commands.put(("lend", lent))

    def close(self, patience: float = 5.0) -> None:
        """Give everything back and end the worker."""
        self._closed.set()
        self._commands.put(("close", None))
        self._thread.join(patience)
        self._bench.end()

    def _run(self) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            "start": self._on_start,
            "wake": self._on_wake,
            "abandon": self._on_abandon,
            "finish": lambda at: self._bench.finish(*at),
            "release": self._on_release,
            "hold": lambda _: self._bench.hold(),
            "go-on": lambda _: self._bench.go_on(),
            "lend": self._bench.lend,
            "frame": lambda value: self._bench.on_frame(*value),
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
            if self._bench.work:
                self._bench.drop("internal", message)
            else:
                self.on_unable("internal", message)

    def _next_wait(self) -> float:
        until = time.monotonic() + LONGEST_WAIT
        if self._bench.due is not None:
            until = min(until, self._bench.due)
        if self._connection.retry_at is not None:
            until = min(until, self._connection.retry_at)
        elif self._is_free():
            until = min(until, self._next_look)
        return max(0.0, until - time.monotonic())

    def _is_free(self) -> bool:
        return self._connection.link is not None and self._bench.is_free

    def _on_time(self, _: object) -> None:
        if self._bench.force_if_due():
            return
        if self._assignment is None:
            self._bench.end_if_idle()
        elif self._connection.is_due():
            self._connect()
        elif self._is_free() and time.monotonic() >= self._next_look:
            self._look()

    def _on_start(self, assignment: dict[str, Any]) -> None:
        known = self._assignment
        if known and (known["run"], known["fence"]) == (assignment["run"], assignment["fence"]):
            self._report()
            return
        self._bench.drop()
        self._connection.close()
        self._assignment = assignment
        self._unable = self._done_round = self._answered = None
        self._bench.begin(assignment)
        self._connect()

    def _connect(self) -> None:
        self._connection.open()
        if self._bench.work and self._bench.work.answer:
            self._upload(self._bench.work)
        self._report()

    def _report(self) -> None:
        """Take what lies in the engine, then say what is in hand: what is not will be sent again."""
        if self._assignment is None:
            return
        if self._unable:
            self._say.failed(self._assignment["run"], None, *self._unable)
        elif self._bench.is_held:
            self._bench.tell_parked()
        elif self._connection.link and self._bench.is_able:
            if self._bench.work is None:
                self._look()
            work = self._bench.work
            in_hand = work.instruction.round if work else self._done_round
            self._say.ready(self._assignment, in_hand, self._bench.rows)

    def _on_wake(self, at: tuple[int, int]) -> None:
        run, round_number = at
        if self._assignment is None or self._assignment["run"] != run:
            return
        work = self._bench.work
        if work and round_number > work.instruction.round:
            # The platform is further: nobody waits for what is in hand.
            self._bench.drop()
        if self._is_free():
            self._look()
            self._repeat_uploaded(round_number)
        elif work is None or round_number > work.instruction.round:
            self._woken = True

    def _repeat_uploaded(self, round_number: int) -> None:
        """Woken for a round that is done: nobody heard so."""
        if self._answered and self._answered.instruction.round == round_number:
            self._say.uploaded(self._answered)

    def _look(self) -> None:
        """Pull until there is a message to work on or none at all."""
        assert self._connection.link is not None
        self._woken = False
        while self._bench.work is None:
            self._next_look = time.monotonic() + LOOK_EVERY
            began = time.monotonic()
            message = self._connection.link.pull()
            if message is None:
                return
            self._take(message, time.monotonic() - began)

    def _take(self, message: Message, seconds: float) -> None:
        assert self._assignment is not None
        try:
            instruction = exchange.read(message.content)
        except ClientError as exc:
            self._say.failed(self._assignment["run"], None, exc.code, str(exc))
            return
        if self._answered and self._answered.at == {"run": instruction.run, "round": instruction.round}:
            # The answer was lost after it was handed in.
            self._bench.work = replace(self._answered, message=message)
            self._upload(self._bench.work)
            return
        mine = (instruction.run, instruction.fence) == (self._assignment["run"], self._assignment["fence"])
        if not mine or (self._done_round is not None and instruction.round <= self._done_round):
            log.info("a message of run %s, round %s is not for now", instruction.run, instruction.round)
            return
        self._answered = None
        meter = energy.meter(self._bench.lent.gpus)
        self._bench.take(Work(message, instruction, self._keep, meter, transfer_seconds=seconds))

    def _on_abandon(self, at: tuple[int, int]) -> None:
        run, round_number = at
        work = self._bench.work
        self._answered = None
        if self._assignment is None or self._assignment["run"] != run:
            return
        # Also when its message was not pulled yet.
        self._done_round = max(round_number, self._done_round or 0)
        if work and work.instruction.round <= round_number:
            self._bench.drop()

    def _on_release(self, run: int | None) -> None:
        if self._assignment is None or run not in (None, self._assignment["run"]):
            return
        self._bench.release()
        self._connection.close()
        self._assignment = self._answered = None

    def on_able(self) -> None:
        self._report()

    def on_unable(self, code: str, message: str) -> None:
        self._unable = (code, message)
        if self._assignment:
            self._say.failed(self._assignment["run"], None, code, message)

    def on_progress(self, work: Work, batch: int, batches: int) -> None:
        self._say.phase(work, "training", batch, batches)

    def on_parked(self, work: Work, examples: int) -> None:
        self._say.parked(work, examples)

    def on_answer(self, work: Work) -> None:
        if work.size > VISIBLE_BYTES:
            self._say.phase(work, "uploading")
        self._upload(work)

    def on_dropped(self, work: Work, code: str, message: str) -> None:
        self._next_look = 0.0 if self._woken else time.monotonic() + LOOK_EVERY
        if code:
            self._done_round = work.instruction.round
            self._say.failed(work.instruction.run, work.instruction.round, code, message)
        self._on_end(work, code or "dropped")

    def _upload(self, work: Work) -> None:
        """Hand in the answer. Without a link it is kept until there is one."""
        if work.answer is None or self._connection.link is None:
            return
        began = time.monotonic()
        self._connection.link.reply(work.message, work.answer, work.age)
        work.transfer_seconds += time.monotonic() - began
        self._bench.work, self._answered = None, work
        self._done_round = work.instruction.round
        self._say.uploaded(work)
        self._connection.link.confirm(work.message)
        work.forget()
        self._on_end(work, "partial" if work.is_partial else "uploaded")
        self._next_look = 0.0 if self._woken else time.monotonic() + LOOK_EVERY
