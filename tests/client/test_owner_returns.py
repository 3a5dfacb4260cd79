"""Real processes: an owner comes back in the middle of a batch that lasts longer than the patience."""

import queue
import time
from typing import Any

import psutil
import pytest

from fl_client import models, weights
from fl_client.session import Session
from fl_client.worker_process import WorkerProcess
from tests.client.assignments import assignment
from tests.client.session_world import DEADLINE, Engine, instruction

pytestmark = pytest.mark.e2e

LONG = 90.0  # seconds; loading torch on a busy machine takes a while
# Two batches of some seconds each on one thread: longer than the second that a worker has for parking.
JOB = assignment(
    model={"name": "cnn"},
    partition={"count": 4},
    training={"epochs": 2, "batch_size": 0, "learning_rate": 0.01},
)


class Device:
    def __init__(self, folder: Any) -> None:
        self.engine = Engine()
        self.said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.workers: list[WorkerProcess] = []
        self.session = Session(lambda: self.engine, self.said.put, folder, self._spawn)  # type: ignore[arg-type]

    def _spawn(self, on_frame: Any, variables: Any) -> WorkerProcess:
        self.workers.append(WorkerProcess(on_frame, variables))
        return self.workers[-1]

    def hears(self, kind: str) -> dict[str, Any]:
        while (message := self.said.get(timeout=LONG))["type"] != kind:
            assert message["type"] in ("progress", "ready"), message
        return message

    def asked(self) -> None:
        first = instruction(1)
        first.content["fit"]["weights"] = weights.pack(models.initial_weights("cnn", {}, 42))
        first.content["fit"]["config"] = "{}"
        self.engine.inbox.append(first)
        self.session.wake(12, 1)

    def trained(self) -> dict[str, Any]:
        assert self.hears("uploaded")["round"] == 1
        return self.engine.replies.get(timeout=DEADLINE)

    def cpu_seconds(self) -> float:
        used = psutil.Process(self.workers[-1].pid).cpu_times()
        return float(used.user + used.system)


@pytest.fixture
def device(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSTELLATION_THREADS", "1")
    monkeypatch.setenv("CONSTELLATION_DEVICE", "cpu")
    made = Device(tmp_path)
    yield made
    made.session.close()
    assert not any(psutil.pid_exists(worker.pid) for worker in made.workers)


@pytest.mark.timeout(300)
def test_no_processor_time_is_used_two_seconds_later_and_the_round_ends_as_if_nobody_had_come(device):
    device.session.start(JOB)
    device.hears("ready")
    device.asked()
    undisturbed = device.trained()

    device.session.release(12)
    device.session.start({**JOB, "fence": 7, "run": 12})
    device.hears("ready")
    device.asked()
    assert device.hears("progress")["batch"] == 1
    time.sleep(0.7)  # into the second batch
    device.session.hold()
    time.sleep(2.0)
    before = device.cpu_seconds()
    time.sleep(1.0)
    assert device.cpu_seconds() - before < 0.05
    assert psutil.Process(device.workers[-1].pid).status() == psutil.STATUS_STOPPED
    assert device.hears("parked")["examples"] == 1000
    device.session.go_on()
    again = device.trained()
    assert again["examples"] == undisturbed["examples"] == 2000
    assert again["weights"] == undisturbed["weights"]
