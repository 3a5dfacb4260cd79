import json
import os
import queue
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from flwr.app import ConfigRecord, RecordDict

from fl_client import connection, models, session, warm_worker, weights
from fl_client.fleet import FleetError
from fl_client.frames import Frame
from fl_client.session import Session
from fl_client.worker_process import WorkerProcess
from tests.client.assignments import assignment

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

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        if header["type"] == "prepare":
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


class World:
    def __init__(self) -> None:
        self.engine = Engine()
        self.told: queue.SimpleQueue[tuple[Worker, dict[str, Any]]] = queue.SimpleQueue()
        self.said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.workers: list[Worker] = []
        self.dies_at_start = False
        self.cannot_prepare = False
        self.session = Session(lambda: self.engine, self.said.put, self._spawn)  # type: ignore[arg-type]

    def _spawn(self, on_frame: Any) -> Any:
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
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(connection, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(connection, "RETRY_MOST", 0.05)
    made = World()
    yield made
    made.session.close()


def broken(retry: bool = True) -> FleetError:
    return FleetError("reply: connection reset", retry=retry)


def settled(world: World) -> None:
    """Everything that was asked before this is done: the session works in order."""
    world.session.wake(12, 999)
    world.session.start(ASSIGNMENT)
    world.hears("ready")


def test_a_device_goes_from_its_reservation_through_a_round_to_the_next(world):
    worker = world.reserved()
    world.engine.inbox.append(instruction(1))
    world.session.wake(12, 1)
    _, train = world.worker_gets("train")
    assert train == {
        "type": "train",
        "run": 12,
        "round": 1,
        "fence": 7,
        "config": {"mu": 0.1},
        "weights": b"model 1",
    }
    worker.say(type="progress", run=12, round=1, batch=3, batches=13)
    progress = world.hears("progress")
    assert (progress["phase"], progress["batch"], progress["batches"]) == ("training", 3, 13)
    worker.finish(1)
    assert world.hears("uploaded") == {"type": "uploaded", "run": 12, "round": 1}
    answer = world.engine.replies.get(timeout=DEADLINE)
    assert [answer[key] for key in ("run", "round", "fence", "examples")] == [12, 1, 7, 400]
    assert (json.loads(answer["metrics"]), answer["weights"]) == ({"train-loss": 0.5}, b"trained")
    world.engine.inbox.append(instruction(2))
    world.session.wake(12, 2)
    assert world.worker_gets("train")[1]["weights"] == b"model 2"


def test_a_lost_wake_up_costs_only_the_time_to_the_next_look(world, monkeypatch):
    monkeypatch.setattr(session, "LOOK_EVERY", 0.02)
    world.reserved()
    world.engine.inbox.append(instruction(1))
    world.worker_gets("train")


def test_a_wake_up_that_came_during_a_round_is_followed_right_after_it(world):
    worker = world.training(1)
    world.engine.inbox.append(instruction(2))
    world.session.wake(12, 2)
    worker.finish(1)
    world.hears("uploaded")
    assert world.worker_gets("train")[1]["round"] == 2


def test_a_wake_up_that_came_before_the_worker_was_warm_is_not_lost(world):
    world.engine.inbox.append(instruction(1))
    world.session.start(ASSIGNMENT)
    assert world.hears("ready")["round"] == 1
    world.worker_gets("prepare")
    world.worker_gets("train")


def test_reserved_again_for_the_same_run_it_says_ready_with_the_round_in_hand(world):
    worker = world.training(3)
    world.session.start(ASSIGNMENT)
    assert world.hears("ready")["round"] == 3
    worker.finish(3)
    world.hears("uploaded")
    world.session.start(ASSIGNMENT)
    assert world.hears("ready")["round"] == 3
    assert world.engine.opened == 1
    assert len(world.workers) == 1


def test_reserved_with_a_newer_fence_it_starts_over(world):
    world.training(3)
    world.session.start({**ASSIGNMENT, "fence": 8})
    assert world.worker_gets("cancel")[1]["round"] == 3
    assert world.worker_gets("prepare")[1]["assignment"]["fence"] == 8
    assert world.hears("ready") == {"type": "ready", "run": 12, "fence": 8, "round": None, "rows": 400}
    assert world.engine.opened == 2


def test_abandon_cancels_the_round_and_its_result_is_dropped(world):
    worker = world.training(1)
    world.session.abandon(12, 1)
    assert world.worker_gets("cancel")[1]["round"] == 1
    worker.finish(1)
    settled(world)
    assert world.quiet()
    world.engine.inbox += [instruction(1), instruction(2)]
    world.session.wake(12, 2)
    assert world.worker_gets("train")[1]["round"] == 2


@pytest.mark.parametrize("at", [(12, 2), (11, 1)])
def test_abandon_of_something_else_leaves_the_round_alone(world, at):
    worker = world.training(1)
    world.session.abandon(*at)
    worker.finish(1)
    world.hears("uploaded")


def test_release_closes_the_link_and_keeps_the_worker_warm(world):
    worker = world.training(1)
    world.session.release(12)
    assert world.worker_gets("cancel")[1]["round"] == 1
    assert world.engine.left.get(timeout=DEADLINE) is None
    assert not worker.ended.is_set()
    world.session.start({**ASSIGNMENT, "run": 13})
    assert world.worker_gets("prepare")[0] is worker
    assert world.hears("ready")["run"] == 13


def test_release_of_another_run_is_ignored(world):
    worker = world.training(1)
    world.session.release(11)
    worker.finish(1)
    world.hears("uploaded")


def test_a_result_of_the_run_before_is_not_taken_for_this_one(world):
    worker = world.training(1)
    world.session.release(12)
    world.session.start({**ASSIGNMENT, "run": 13})
    world.hears("ready")
    world.engine.inbox.append(instruction(1, run=13))
    world.session.wake(13, 1)
    for kind in ("cancel", "prepare", "train"):
        world.worker_gets(kind)
    worker.finish(1, run=12)
    worker.finish(1, run=13)
    world.hears("uploaded")
    assert world.engine.replies.get(timeout=DEADLINE)["run"] == 13
    assert world.engine.replies.empty()


def test_an_idle_worker_ends_by_itself(world, monkeypatch):
    monkeypatch.setattr(warm_worker, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(session, "LONGEST_WAIT", 0.02)
    worker = world.reserved()
    world.session.release(12)
    world.engine.left.get(timeout=DEADLINE)
    assert worker.ended.wait(DEADLINE)


def test_a_killed_worker_is_replaced_and_the_round_trained_again(world):
    worker = world.training(1)
    worker.die()
    replacement, _ = world.worker_gets("prepare")
    assert replacement is not worker
    _, train = world.worker_gets("train")
    assert (train["round"], train["weights"]) == (1, b"model 1")
    worker.finish(1)
    replacement.finish(1)
    world.hears("uploaded")
    world.engine.replies.get(timeout=DEADLINE)
    assert world.engine.replies.empty()


def test_a_round_that_kills_every_worker_is_given_up_and_the_device_goes_on(world):
    worker = world.training(1)
    for _ in range(warm_worker.MAX_RESTARTS):
        worker.die()
        worker, _ = world.worker_gets("prepare")
        world.worker_gets("train")
    worker.die()
    failed = world.hears("failed")
    assert (failed["run"], failed["round"], failed["code"]) == (12, 1, "worker-died")
    world.worker_gets("prepare")
    assert world.hears("ready")["round"] == 1
    world.engine.inbox.append(instruction(2))
    world.session.wake(12, 2)
    world.worker_gets("train")


def test_a_worker_that_dies_at_its_start_is_not_started_for_ever(world):
    world.dies_at_start = True
    world.session.start(ASSIGNMENT)
    failed = world.hears("failed")
    assert (failed["round"], failed["code"]) == (None, "worker-died")
    assert len(world.workers) == warm_worker.MAX_RESTARTS + 1
    world.session.start(ASSIGNMENT)
    assert world.hears("failed")["code"] == "worker-died"
    assert len(world.workers) == warm_worker.MAX_RESTARTS + 1


def test_what_cannot_be_prepared_is_said_and_never_called_ready(world):
    world.cannot_prepare = True
    world.session.start(ASSIGNMENT)
    failed = world.hears("failed")
    assert (failed["round"], failed["code"], failed["message"]) == (None, "data-missing", "no rows")
    assert world.said.empty()


def test_a_failed_round_is_said_and_its_repetition_is_not_tried(world):
    worker = world.training(1)
    worker.say(type="error", code="diverged", message="The loss is NaN.", round=1)
    failed = world.hears("failed")
    assert failed == {
        "type": "failed",
        "run": 12,
        "round": 1,
        "code": "diverged",
        "message": "The loss is NaN.",
    }
    world.worker_gets("cancel")
    world.engine.inbox.append(instruction(1))
    settled(world)
    assert world.quiet()


def test_an_answer_that_cannot_be_handed_in_is_kept_for_the_next_link(world):
    worker = world.training(1)
    world.engine.failures["reply"] = [broken(), broken()]
    worker.finish(1)
    assert world.hears("uploaded")["round"] == 1
    assert world.hears("ready")["round"] == 1
    assert world.engine.opened == 3
    assert world.engine.replies.get(timeout=DEADLINE)["weights"] == b"trained"
    assert [world.engine.left.get_nowait() for _ in range(2)] == [FleetError, FleetError]


def test_an_answer_of_an_abandoned_round_is_not_handed_in_after_reconnecting(world, monkeypatch):
    monkeypatch.setattr(connection, "RETRY_MOST", 60.0)
    worker = world.training(1)
    world.engine.failures["reply"] = [broken(retry=False)]
    worker.finish(1)
    world.engine.left.get(timeout=DEADLINE)
    world.session.abandon(12, 1)
    assert world.worker_gets("cancel")[1]["round"] == 1
    assert world.quiet()


def test_a_broken_link_is_opened_again_until_it_holds(world):
    world.engine.failures["open"] = [broken(), broken(retry=False), broken()]
    world.session.start(ASSIGNMENT)
    assert world.hears("ready")["round"] is None
    assert world.engine.opened == 1


def test_a_message_lost_on_its_way_is_asked_for_again_by_saying_ready(world):
    world.reserved()
    world.engine.failures["pull"] = [broken()]
    world.session.wake(12, 1)
    assert world.hears("ready")["round"] is None


@pytest.mark.parametrize(
    "message", [instruction(1, run=11), instruction(1, fence=6), instruction(1, fence=8)]
)
def test_messages_of_other_runs_and_fences_are_passed_over(world, message):
    world.reserved()
    world.engine.inbox += [message, instruction(1)]
    world.session.wake(12, 1)
    _, train = world.worker_gets("train")
    assert (train["run"], train["fence"], train["round"]) == (12, 7, 1)
    assert world.told.empty()


def test_an_answer_that_got_lost_is_handed_in_again_without_training_again(world):
    worker = world.training(1)
    worker.finish(1)
    world.hears("uploaded")
    world.engine.inbox.append(instruction(1))
    world.session.wake(12, 1)
    world.hears("uploaded")
    world.hears("uploaded")
    assert [world.engine.replies.get_nowait()["weights"] for _ in range(2)] == [b"trained", b"trained"]
    assert world.told.empty()


def test_woken_for_a_round_that_is_done_it_says_so_again(world):
    worker = world.training(1)
    worker.finish(1)
    first = world.hears("uploaded")
    world.engine.replies.get(timeout=DEADLINE)
    world.session.wake(12, 1)
    assert world.hears("uploaded") == first
    world.session.abandon(12, 1)
    world.session.wake(12, 1)
    settled(world)
    assert world.quiet()


def test_an_instruction_that_cannot_be_read_is_said(world):
    world.reserved()
    bad = instruction(1)
    bad.content["fit"]["format"] = 2
    world.engine.inbox.append(bad)
    world.session.wake(12, 1)
    failed = world.hears("failed")
    assert (failed["round"], failed["code"]) == (None, "bad-instruction")


def test_a_failure_of_our_own_ends_the_round_and_not_the_session(world):
    worker = world.training(1)
    worker.say(b"trained", type="result", run=12, round=1)
    assert world.hears("failed")["code"] == "internal"
    world.worker_gets("cancel")
    world.engine.inbox.append(instruction(2))
    world.session.wake(12, 2)
    world.worker_gets("train")


def test_close_leaves_the_link_and_ends_the_worker(world):
    worker = world.training(1)
    world.session.close()
    assert worker.ended.is_set()
    assert world.engine.left.get_nowait() is None


def test_close_before_any_reservation_is_quick(world):
    world.session.close()
    assert world.workers == []


@pytest.mark.e2e
def test_a_real_worker_that_is_killed_in_the_middle_of_a_round_is_replaced(monkeypatch):
    monkeypatch.setenv("CONSTELLATION_THREADS", "1")
    monkeypatch.setenv("CONSTELLATION_DEVICE", "cpu")
    engine, said = Engine(), queue.SimpleQueue()
    workers: list[WorkerProcess] = []

    def spawn(on_frame: Any) -> WorkerProcess:
        workers.append(WorkerProcess(on_frame))
        return workers[-1]

    def hears(kind: str) -> dict[str, Any]:
        while (message := said.get(timeout=30.0))["type"] != kind:
            assert message["type"] == "progress", message
        return message

    made = Session(lambda: engine, said.put, spawn)  # type: ignore[arg-type]
    try:
        made.start(assignment(training={"epochs": 5}))
        hears("ready")
        first = instruction(1)
        first.content["fit"]["weights"] = weights.pack(models.initial_weights("2nn", {}, 42))
        first.content["fit"]["config"] = "{}"
        engine.inbox.append(first)
        made.wake(12, 1)
        hears("progress")
        os.kill(workers[0].pid, signal.SIGKILL)
        assert hears("uploaded")["round"] == 1
        assert engine.replies.get(timeout=DEADLINE)["examples"] == 400
        assert len(workers) == 2
    finally:
        made.close()
    assert not any(psutil.pid_exists(worker.pid) for worker in workers)
