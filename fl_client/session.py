"""What a device does between being reserved and being released: link open, worker warm, round after round.

Everything happens on one thread that takes commands from a queue, so that no two things happen at once.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from flwr.app import Message, RecordDict

from fl_client import exchange
from fl_client.exchange import Instruction
from fl_client.errors import ClientError
from fl_client.fleet import FleetError
from fl_client.frames import Frame
from fl_client.worker_process import WorkerProcess

log = logging.getLogger("constellation.session")

# Wake-ups are hints; a device that is ready looks by itself this often. Seconds.
LOOK_EVERY = 5.0
WORKER_IDLE_SECONDS = 600.0
RETRY_FIRST, RETRY_MOST = 0.5, 15.0
# Phases of small models pass faster than anybody can see them.
VISIBLE_BYTES = 2_000_000
MAX_RESTARTS = 2


class Link(Protocol):
    def pull(self) -> Message | None: ...
    def reply(self, to: Message, content: RecordDict, seconds: float) -> None: ...


@dataclass
class _Work:
    message: Message
    instruction: Instruction
    started: float = field(default_factory=time.monotonic)
    restarts: int = 0
    answer: RecordDict | None = None


class Session:
    def __init__(
        self,
        open_link: Callable[[], AbstractContextManager[Link]],
        send: Callable[[dict[str, Any]], None],
        spawn_worker: Callable[..., WorkerProcess] = WorkerProcess,
    ) -> None:
        """`open_link` makes a connection to the engine; `send` puts a message on the device's socket."""
        self._open_link = open_link
        self._send = send
        self._spawn_worker = spawn_worker
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._assignment: dict[str, Any] | None = None
        self._context: AbstractContextManager[Link] | None = None
        self._link: Link | None = None
        self._worker: WorkerProcess | None = None
        self._prepared = False
        self._work: _Work | None = None
        self._done_round: int | None = None
        self._retry_at: float | None = None
        self._retry_delay = RETRY_FIRST
        self._idle_since = time.monotonic()
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
        if self._worker:
            self._worker.end()

    def _run(self) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            "start": self._on_start,
            "wake": self._on_wake,
            "abandon": self._on_abandon,
            "release": self._on_release,
            "frame": self._on_frame,
        }
        while not self._closed.is_set():
            try:
                kind, value = self._commands.get(timeout=self._next_wait())
            except queue.Empty:
                self._on_time()
                continue
            if kind in handlers:
                self._guard(handlers[kind], value)
        self._guard(self._on_release, None)

    def _guard(self, handler: Callable[[Any], None], value: Any) -> None:
        try:
            handler(value)
        except FleetError as exc:
            log.warning("%s", exc)
            self._again(exc)
        except Exception:
            log.exception("session")
            self._drop_work("internal", "The client failed; its log says more.")

    def _next_wait(self) -> float:
        now = time.monotonic()
        times = [now + 60.0]
        if self._retry_at is not None:
            times.append(self._retry_at)
        elif self._link and self._prepared and self._work is None:
            times.append(self._next_look)
        return max(0.0, min(times) - now)

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if self._assignment:
                self._guard(self._connect, None)
        elif self._assignment is None:
            if self._worker and now - self._idle_since > WORKER_IDLE_SECONDS:
                log.info("the worker was idle for %.0f s and ends", WORKER_IDLE_SECONDS)
                self._end_worker()
        elif self._link and self._prepared and self._work is None and now >= self._next_look:
            self._guard(self._look, None)

    def _again(self, error: FleetError) -> None:
        """Open the link anew after a pause: with jitter, or a fleet that lost its server comes back as one."""
        self._drop_link()
        if self._assignment is None:
            return
        delay = self._retry_delay if error.retry else RETRY_MOST
        self._retry_delay = min(self._retry_delay * 2, RETRY_MOST)
        self._retry_at = time.monotonic() + random.uniform(0.5, 1.0) * delay  # noqa: S311  no secret

    def _on_start(self, assignment: dict[str, Any]) -> None:
        same = self._assignment is not None and (self._assignment["run"], self._assignment["fence"]) == (
            assignment["run"],
            assignment["fence"],
        )
        if same:
            if self._link and self._prepared:
                self._tell_ready()
            return
        self._drop_work()
        self._drop_link()
        self._assignment = assignment
        self._prepared = False
        self._done_round = None
        self._retry_delay = RETRY_FIRST
        self._prepare()
        self._connect(None)

    def _prepare(self) -> None:
        if self._worker is None:
            self._worker = self._spawn_worker(
                lambda worker, frame: self._commands.put(("frame", (worker, frame)))
            )
        self._worker.send({"type": "prepare", "assignment": self._assignment})

    def _connect(self, _: object) -> None:
        context = self._open_link()
        self._link = context.__enter__()
        self._context = context
        self._retry_delay = RETRY_FIRST
        if self._work and self._work.answer:
            self._upload()
        if self._prepared:
            self._tell_ready()

    def _tell_ready(self) -> None:
        assert self._assignment is not None
        in_hand = self._work.instruction.round if self._work else self._done_round
        message = {"type": "ready", "run": self._assignment["run"], "fence": self._assignment["fence"]}
        self._send({**message, "round": in_hand})
        self._next_look = time.monotonic() + LOOK_EVERY

    def _on_wake(self, at: tuple[int, int]) -> None:
        if (
            self._assignment
            and self._assignment["run"] == at[0]
            and self._link
            and self._prepared
            and not self._work
        ):
            self._look(None)

    def _look(self, _: object) -> None:
        """Pull until there is a message to work on or none at all."""
        assert self._link is not None and self._assignment is not None
        while self._work is None:
            self._next_look = time.monotonic() + LOOK_EVERY
            message = self._link.pull()
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
        mine = (instruction.run, instruction.fence) == (self._assignment["run"], self._assignment["fence"])
        if not mine or (self._done_round is not None and instruction.round <= self._done_round):
            log.info("a message of run %s, round %s is not for now", instruction.run, instruction.round)
            return
        self._work = _Work(message, instruction)
        self._train()

    def _train(self) -> None:
        assert self._work is not None and self._worker is not None
        instruction = self._work.instruction
        header = {"run": instruction.run, "round": instruction.round, "fence": instruction.fence}
        self._worker.send({"type": "train", **header, "config": instruction.config}, instruction.weights)

    def _on_abandon(self, at: tuple[int, int]) -> None:
        work = self._work
        if work and (work.instruction.run, work.instruction.round) == at:
            self._done_round = work.instruction.round
            self._drop_work()

    def _on_release(self, run: int | None) -> None:
        if self._assignment is None or run not in (None, self._assignment["run"]):
            return
        self._drop_work()
        self._drop_link()
        self._assignment = None
        self._retry_at = None
        self._idle_since = time.monotonic()

    def _on_frame(self, value: tuple[WorkerProcess, Frame | None]) -> None:
        worker, frame = value
        if worker is not self._worker:
            return
        if frame is None:
            self._on_worker_gone()
        elif frame.type == "prepared":
            self._on_prepared(frame.header)
        elif frame.type == "progress":
            self._on_progress(frame.header)
        elif frame.type == "result":
            self._on_result(frame)
        elif frame.type == "error":
            self._on_error(frame.header)

    def _on_prepared(self, header: dict[str, Any]) -> None:
        if self._assignment is None or header["run"] != self._assignment["run"]:
            return
        self._prepared = True
        log.info("run %s is prepared: %s rows in %.1f s", header["run"], header["rows"], header["seconds"])
        if self._work and not self._work.answer:
            self._train()
        elif self._link and not self._work:
            self._tell_ready()
            self._look(None)

    def _on_progress(self, header: dict[str, Any]) -> None:
        if self._is_current(header):
            self._tell_phase("training", header["batch"], header["batches"])

    def _on_result(self, frame: Frame) -> None:
        header, work = frame.header, self._work
        if work is None or work.answer or not self._is_current(header):
            return
        if len(frame.payload) > VISIBLE_BYTES:
            self._tell_phase("uploading")
        work.answer = exchange.write(
            work.instruction, header["examples"], header["metrics"], bytes(frame.payload)
        )
        self._upload()

    def _upload(self) -> None:
        """Hand in the answer. Without a link it is kept until there is one."""
        work, link = self._work, self._link
        if work is None or work.answer is None or link is None:
            return
        link.reply(work.message, work.answer, time.monotonic() - work.started)
        self._done_round = work.instruction.round
        self._work = None
        self._send({"type": "uploaded", "run": work.instruction.run, "round": work.instruction.round})
        self._next_look = time.monotonic() + LOOK_EVERY

    def _on_error(self, header: dict[str, Any]) -> None:
        if header.get("round") is None:
            self._tell_failed(None, header["code"], header["message"])
        elif self._is_current(header):
            self._drop_work(header["code"], header["message"])

    def _on_worker_gone(self) -> None:
        """Somebody killed it, perhaps for its memory. The round goes on in a new one, not for ever."""
        self._worker = None
        self._prepared = False
        if self._assignment is None:
            return
        if self._work and not self._work.answer:
            self._work.restarts += 1
            if self._work.restarts > MAX_RESTARTS:
                self._drop_work("worker-died", f"The training process died {self._work.restarts} times.")
        log.warning("the worker is gone, starting another")
        self._prepare()

    def _is_current(self, header: dict[str, Any]) -> bool:
        work = self._work
        return work is not None and header.get("round") == work.instruction.round

    def _drop_work(self, code: str = "", message: str = "") -> None:
        """Stop the round in hand; with a code, say why."""
        work, self._work = self._work, None
        if work is None:
            return
        if self._worker:
            self._worker.send({"type": "cancel", "round": work.instruction.round})
        if code:
            self._done_round = work.instruction.round
            self._tell_failed(work.instruction.round, code, message)

    def _drop_link(self) -> None:
        context, self._context, self._link = self._context, None, None
        if context:
            context.__exit__(None, None, None)

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        self._prepared = False
        if worker:
            worker.end()

    def _tell_phase(self, phase: str, batch: int | None = None, batches: int | None = None) -> None:
        assert self._work is not None
        at = {"run": self._work.instruction.run, "round": self._work.instruction.round}
        self._send({"type": "progress", **at, "phase": phase, "batch": batch, "batches": batches})

    def _tell_failed(self, round_number: int | None, code: str, message: str) -> None:
        if self._assignment:
            at = {"run": self._assignment["run"], "round": round_number}
            self._send({"type": "failed", **at, "code": code, "message": message})
