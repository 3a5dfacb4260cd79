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
from typing import Any, BinaryIO

import torch

from fl_client import assignment, devices, environment, frames, weights
from fl_client.errors import Cancelled, ClientError, FrameError, NotPrepared
from fl_client.frames import Frame
from fl_client.training import Result, Trainer

PROGRESS_SECONDS = 0.2
log = logging.getLogger("constellation.worker")


@dataclass(frozen=True)
class Job:
    """A frame to act on. Each has its own stop, so that a cancelled round may be asked for again at once."""

    frame: Frame
    stop: threading.Event = field(default_factory=threading.Event)

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
            if frame.type == "cancel":
                for job in self._live:
                    if job.frame.type == "train" and job.round == frame.header.get("round"):
                        job.stop.set()
                return
            job = Job(frame)
            self._live.append(job)
        self._jobs.put(job)


class Worker:
    def __init__(self, out: BinaryIO, device: torch.device) -> None:
        self._out = out
        self._device = device
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
        except (MemoryError, torch.OutOfMemoryError) as error:
            self._fail(job, "out-of-memory", f"There was not enough memory: {error}")
        except Exception as error:
            log.exception("%s failed", job.frame.type)
            self._fail(job, "internal", f"{type(error).__name__}: {error}")

    def _prepare(self, header: Mapping[str, Any]) -> None:
        start = time.perf_counter()
        self._trainer = None
        wanted = assignment.read(header.get("assignment") or {})
        trainer = Trainer(wanted, self._device)
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
        progress = Progress(self, header)
        arrays = weights.unpack(job.frame.payload)
        result = trainer.train(job.round or 0, arrays, header.get("config") or {}, progress, job.stop.is_set)
        self._answer(header, result)

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
        self.send({"type": "error", "code": code, "message": message, "round": job.round})

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        frames.write(self._out, header, payload)


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


def main() -> None:
    out = pipe_of_our_own()
    # Ctrl-C in a terminal reaches parent and child; it is the parent's to act on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(environment.threads())
    torch.backends.cudnn.deterministic = True
    inbox = Inbox(sys.stdin.buffer)
    inbox.start()
    device = devices.pick_device()
    worker = Worker(out, device)
    worker.greet()
    devices.warm_up(device)
    while True:
        job = inbox.next()
        worker.act(job)
        inbox.finished(job)


if __name__ == "__main__":
    main()
