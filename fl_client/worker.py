"""The process that trains: frames in on stdin, frames out on stdout, everything else on stderr.

It may be killed at any moment. It ends by itself when stdin does, as it does when the parent dies.
"""

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import torch

from fl_client import assignment, devices, environment, frames, memory, snapshot, weights
from fl_client.errors import Cancelled, ClientError, FrameError, NotPrepared, Parked, SnapshotError
from fl_client.fit import Watch
from fl_client.frames import Frame
from fl_client.snapshot import Snapshot
from fl_client.training import Result, Trainer

PROGRESS_SECONDS = 0.2
KEEP_SECONDS = 5.0
# A batch that lasts so long may itself be interrupted; beside it, writing down what came before costs little.
LONG_BATCH = 0.5
log = logging.getLogger("constellation.worker")


@dataclass(frozen=True)
class Job:
    """A frame to act on, with events of its own, so that a cancelled round may be asked for again at once."""

    frame: Frame
    stop: threading.Event = field(default_factory=threading.Event)
    park: threading.Event = field(default_factory=threading.Event)

    @property
    def round(self) -> int | None:
        return self.frame.header.get("round")


class Inbox:
    """Reads frames in a thread of its own, so that a cancel gets through while a round trains."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._live: list[Job] = []
        self._lock = threading.Lock()
        self.threads = environment.threads()

    def start(self) -> None:
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Job:
        return self._jobs.get()

    def finished(self, job: Job) -> None:
        with self._lock:
            self._live.remove(job)

    def _read(self) -> None:
        status = 0
        try:
            while frame := frames.read(self._stream):
                self._take(frame)
        except Exception:
            log.exception("The pipe cannot be read")
            status = 1
        finally:
            # The main thread may be inside a long computation; there is nothing worth waiting for.
            os._exit(status)

    def _take(self, frame: Frame) -> None:
        with self._lock:
            if frame.type in ("cancel", "park"):
                for job in self._live:
                    if job.frame.type == "train":
                        _interrupt(job, frame)
                return
            if frame.type == "limits":
                self.threads = int(frame.header["threads"])
                return
            job = Job(frame)
            self._live.append(job)
        self._jobs.put(job)


def _interrupt(job: Job, frame: Frame) -> None:
    if frame.type == "park":
        job.park.set()
    elif job.round == frame.header.get("round"):
        job.stop.set()


class Worker:
    def __init__(self, out: BinaryIO, device: torch.device, inbox: Inbox) -> None:
        self._out = out
        self._device = device
        self._inbox = inbox
        self._trainer: Trainer | None = None

    def greet(self) -> None:
        self.send({"type": "hello", "pid": os.getpid(), "device": str(self._device)})

    def act(self, job: Job) -> None:
        """Do what one frame asks; whatever goes wrong becomes a frame, never the end of the process."""
        try:
            if job.frame.type == "prepare":
                self._prepare(job.frame.header)
            elif job.frame.type == "train":
                self._train(job)
            else:
                raise FrameError(f"A worker knows no frame {job.frame.type!r}.")
        except Cancelled:
            self.send({"type": "cancelled", "round": job.round})
        except ClientError as error:
            self._fail(job, error.code, str(error))
        except Exception as error:
            if memory.is_exhaustion(error):
                self._fail(job, "out-of-memory", f"There was not enough memory: {error}")
                return
            log.exception("%s failed", job.frame.type)
            self._fail(job, "internal", f"{type(error).__name__}: {error}")

    def _prepare(self, header: Mapping[str, Any]) -> None:
        start = time.perf_counter()
        self._trainer = None
        wanted = assignment.read(header.get("assignment") or {})
        trainer = Trainer(wanted, self._device, leave_bytes=environment.gpu_free_bytes())
        rows = trainer.prepare()
        self._trainer = trainer
        seconds = time.perf_counter() - start
        self.send({"type": "prepared", "run": wanted.run, "rows": rows, "seconds": seconds})

    def _train(self, job: Job) -> None:
        header, trainer = job.frame.header, self._trainer
        if trainer is None or trainer.assignment.run != header.get("run"):
            raise NotPrepared(f"Run {header.get('run')} has not been prepared by this worker.")
        if job.stop.is_set():
            raise Cancelled
        keeper = Keeper(Path(header["keep"]))
        watch = Watch(
            on_batch=Progress(self, header),
            should_stop=lambda: self._heed(job),
            should_park=job.park.is_set,
            is_due=keeper.is_due,
            keep=keeper.keep,
        )
        arrays = weights.unpack(job.frame.payload)
        kept = keeper.found(header) if header.get("resume") else None
        try:
            result = trainer.train(job.round or 0, arrays, header.get("config") or {}, watch, kept)
        except Parked:
            self.send({"type": "parked", "run": header["run"], "round": job.round})
        else:
            self._answer(header, result)

    def _heed(self, job: Job) -> bool:
        """Between two batches: take on what was lent or taken back meanwhile, and see whether to go on."""
        if torch.get_num_threads() != self._inbox.threads:
            torch.set_num_threads(self._inbox.threads)
        return job.stop.is_set()

    def _answer(self, header: Mapping[str, Any], result: Result) -> None:
        self.send(
            {
                "type": "result",
                "run": header["run"],
                "round": header.get("round"),
                "fence": header.get("fence"),
                "examples": result.examples,
                "metrics": result.metrics,
            },
            weights.pack(result.arrays),
        )

    def _fail(self, job: Job, code: str, message: str) -> None:
        log.warning("%s: %s", code, message)
        header = job.frame.header
        run = (header.get("assignment") or header).get("run")
        self.send({"type": "error", "code": code, "message": message, "run": run, "round": job.round})

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        frames.write(self._out, header, payload)


class Keeper:
    """Leaves a snapshot of the round every few seconds, after a batch that took long, and when it parks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = self._asked = time.monotonic()

    def is_due(self) -> bool:
        """Asked once after each batch."""
        now = time.monotonic()
        lasted, self._asked = now - self._asked, now
        return lasted >= LONG_BATCH or now - self._kept >= KEEP_SECONDS

    def keep(self, taken: Snapshot) -> None:
        taken.write(self._path)
        self._kept = self._asked = time.monotonic()

    def found(self, header: Mapping[str, Any]) -> Snapshot | None:
        """What was kept of this very round, unless nothing was or it cannot be used."""
        try:
            head = snapshot.read_head(self._path)
            if head is None or (head.run, head.round, head.fence) != _at(header):
                return None
            return snapshot.read(self._path)
        except SnapshotError as error:
            log.warning("the round begins anew: %s", error)
            return None


def _at(header: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return header["run"], header.get("round"), header.get("fence")


class Progress:
    """Tells the agent how far a round is, a few times a second."""

    def __init__(self, worker: Worker, header: Mapping[str, Any]) -> None:
        self._worker = worker
        self._header = {"type": "progress", "run": header["run"], "round": header.get("round")}
        self._next = 0.0

    def __call__(self, batch: int, batches: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_SECONDS
            self._worker.send({**self._header, "batch": batch, "batches": batches})


def pipe_of_our_own() -> BinaryIO:
    """The real stdout, while everything that prints goes to stderr."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def give_way() -> None:
    """Before any thread starts: each inherits it. Windows has classes of priority instead."""
    if not (nice := environment.nice()):
        return
    me = psutil.Process()
    if sys.platform == "win32":
        me.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        me.nice(max(nice, me.nice()))


def main() -> None:
    out = pipe_of_our_own()
    # Ctrl-C in a terminal reaches parent and child; it is the parent's to act on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_way()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(environment.threads())
    torch.backends.cudnn.deterministic = True
    inbox = Inbox(sys.stdin.buffer)
    inbox.start()
    device = devices.pick_device()
    worker = Worker(out, device, inbox)
    worker.greet()
    devices.warm_up(device)
    while True:
        job = inbox.next()
        worker.act(job)
        inbox.finished(job)


if __name__ == "__main__":
    main()
