"""A device's session with everything around it played: the way to the engine, the worker, the platform."""

import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from fl_client import connection
from fl_client.fleet import FleetError
from fl_client.frames import Frame
from fl_client.session import Session
from fl_client.snapshot import Head, Snapshot
from fl_client.work import SNAPSHOT

DEADLINE = 5.0  # seconds
ASSIGNMENT = {"run": 12, "fence": 7, "model": {"name": "2nn"}}


def instruction(round: int, run: int = 12, fence: int = 7) -> Any:
    header = {
        "format": 1,
        "run": run,
        "round": round,
        "fence": fence,
        "config": json.dumps({"mu": 0.1}),
        "chunks": 0,
        "weights": b"model %d" % round,
    }
    return SimpleNamespace(content=RecordDict({"fit": ConfigRecord(header)}))


class Engine:
    """The fake way to the engine; a context manager like the real link, opened as often as asked."""

    def __init__(self) -> None:
        self.inbox: list[Any] = []
        self.replies: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.failures: dict[str, list[Exception]] = {"open": [], "pull": [], "reply": []}
        self.opened = 0
        self.left: queue.SimpleQueue[type | None] = queue.SimpleQueue()
        self.pulled: queue.SimpleQueue[int] = queue.SimpleQueue()

    def _fail_if_told(self, what: str) -> None:
        if self.failures[what]:
            raise self.failures[what].pop(0)

    def __enter__(self) -> "Engine":
        self._fail_if_told("open")
        self.opened += 1
        return self

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        self.left.put(kind)

    def pull(self) -> Any:
        self._fail_if_told("pull")
        self.pulled.put(len(self.inbox))
        return self.inbox.pop(0) if self.inbox else None

    def reply(self, to: Any, content: RecordDict, seconds: float) -> None:
        self._fail_if_told("reply")
        assert seconds >= 0
        self.replies.put(dict(content["fit"]))

    def confirm(self, message: Any) -> None:
        """Nothing waits for it."""


class Worker:
    """Prepares by itself; trains when the test says so."""

    def __init__(self, world: "World", on_frame: Any) -> None:
        self._world = world
        self._on_frame = on_frame
        self.ended = threading.Event()
        self.is_still = False
        self.say(type="hello", pid=1, device=world.device)

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        if header["type"] == "prepare" and not self._world.prepares_slowly:
            if self._world.dies_at_start:
                self.die()
            elif self._world.cannot_prepare:
                self.say(type="error", code="data-missing", message="no rows", round=None)
            else:
                self.say(type="prepared", run=header["assignment"]["run"], rows=400, seconds=0.1)
        self._world.told.put((self, {**header, "weights": payload}))

    def say(self, payload: bytes = b"", **header: Any) -> None:
        self._on_frame(self, Frame(header, payload))

    def finish(self, round: int, run: int = 12) -> None:
        at = {"run": run, "round": round, "fence": 7}
        self.say(b"trained", type="result", **at, examples=400, metrics={"train-loss": 0.5})

    def die(self) -> None:
        self._on_frame(self, None)

    def end(self) -> None:
        self.ended.set()

    def kill(self) -> None:
        self.ended.set()

    def suspend(self) -> None:
        self.is_still = True
        self._world.moves.put("still")

    def resume(self) -> None:
        self.is_still = False
        self._world.moves.put("on")

    def memory(self) -> int:
        return self._world.worker_bytes

    def keep(self, round: int, done: int, batches: int = 10, fence: int = 7, seconds: float = 0.5) -> None:
        """Leave a snapshot, as a worker does every few seconds and when it parks."""
        head = Head(12, round, fence, done, batches, 400 * done // batches, seconds, {"eval-loss": 2.0})
        arrays = {"w": np.full(3, done, dtype=np.float32)}
        Snapshot(head, arrays, {}).write(self._world.folder / SNAPSHOT)

    def park(self, round: int, done: int) -> None:
        self.keep(round, done)
        self.say(type="parked", run=12, round=round)


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = Engine()
        self.told: queue.SimpleQueue[tuple[Worker, dict[str, Any]]] = queue.SimpleQueue()
        self.said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.workers: list[Worker] = []
        self.dies_at_start = False
        self.cannot_prepare = False
        self.prepares_slowly = False
        self.device = "cpu"
        self.worker_bytes = 0
        self.moves: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.ended: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self.session = Session(
            lambda: self.engine,  # type: ignore[arg-type]
            self.said.put,
            folder,
            self._spawn,
            lambda work, outcome: self.ended.put((work.instruction.round, outcome)),
        )

    def _spawn(self, on_frame: Any, variables: Any) -> Any:
        self.workers.append(Worker(self, on_frame))
        return self.workers[-1]

    def hears(self, kind: str) -> dict[str, Any]:
        """The device's next message on its socket must be of this kind."""
        message = self.said.get(timeout=DEADLINE)
        assert message["type"] == kind, message
        return message

    def worker_gets(self, kind: str) -> tuple[Worker, dict[str, Any]]:
        worker, header = self.told.get(timeout=DEADLINE)
        assert header["type"] == kind, header
        return worker, header

    def reserved(self) -> Worker:
        self.session.start(ASSIGNMENT)
        assert self.hears("ready") == {"type": "ready", "run": 12, "fence": 7, "round": None, "rows": 400}
        return self.worker_gets("prepare")[0]

    def training(self, round: int = 1) -> Worker:
        """A reserved device that has a round in hand."""
        self.reserved()
        self.engine.inbox.append(instruction(round))
        self.session.wake(12, round)
        return self.worker_gets("train")[0]

    def quiet(self) -> bool:
        return self.said.empty() and self.told.empty() and self.engine.replies.empty()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    monkeypatch.setattr(connection, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(connection, "RETRY_MOST", 0.05)
    monkeypatch.setattr(connection, "HOPELESS", 0.05)
    made = World(tmp_path)
    yield made
    made.session.close()


def broken(retry: bool = True) -> FleetError:
    return FleetError("reply: connection reset", retry=retry)


def settled(world: World) -> None:
    """Everything that was asked before this is done: the session works in order."""
    world.session.wake(12, 999)
    world.session.start(ASSIGNMENT)
    world.hears("ready")
