"""What a session does with its worker: keeps it warm, replaces it, gives it up, ends it."""

import os
import queue
import signal
from typing import Any

import psutil
import pytest

from fl_client import models, session, warm_worker, weights
from fl_client.session import Session
from fl_client.worker_process import WorkerProcess
from tests.client.assignments import assignment
from tests.client.session_world import ASSIGNMENT, DEADLINE, Engine, instruction, world

__all__ = ["world"]


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


def test_close_leaves_the_link_and_ends_the_worker(world):
    worker = world.training(1)
    world.session.close()
    assert worker.ended.is_set()
    assert world.engine.left.get_nowait() is None


@pytest.mark.e2e
def test_a_real_worker_that_is_killed_in_the_middle_of_a_round_is_replaced(monkeypatch, tmp_path):
    monkeypatch.setenv("CONSTELLATION_THREADS", "1")
    monkeypatch.setenv("CONSTELLATION_DEVICE", "cpu")
    engine, said = Engine(), queue.SimpleQueue()
    workers: list[WorkerProcess] = []

    def spawn(on_frame: Any, variables: Any) -> WorkerProcess:
        workers.append(WorkerProcess(on_frame, variables))
        return workers[-1]

    def hears(kind: str) -> dict[str, Any]:
        while (message := said.get(timeout=30.0))["type"] != kind:
            assert message["type"] == "progress", message
        return message

    made = Session(lambda: engine, said.put, tmp_path, spawn)  # type: ignore[arg-type]
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
