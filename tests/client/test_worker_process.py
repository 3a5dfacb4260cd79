import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from fl_client.frames import Frame
from fl_client.worker_process import WorkerProcess

DEADLINE = 5.0  # seconds

ECHO = """
import os, sys
from fl_client import frames
out = sys.stdout.buffer
while frame := frames.read(sys.stdin.buffer):
    names = sorted(os.environ)
    frames.write(out, {"type": "echo", "names": names, "was": frame.type}, frame.payload)
"""
DEAF = "import sys, time\nsys.stdin.close()\ntime.sleep(60)"
NOISY = "import sys, time\nprint('x' * 64, flush=True)\ntime.sleep(60)"
UNREADING = "import time\ntime.sleep(60)"


class Child:
    def __init__(self, script: str) -> None:
        self.frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self.worker = WorkerProcess(
            lambda worker, frame: self.frames.put(frame), command=(sys.executable, "-c", script)
        )

    def next(self) -> Frame | None:
        return self.frames.get(timeout=DEADLINE)

    def exists(self) -> bool:
        return psutil.pid_exists(self.worker.pid)


@pytest.fixture
def start() -> Iterator[Any]:
    children: list[Child] = []

    def start(script: str) -> Child:
        children.append(Child(script))
        return children[-1]

    yield start
    for child in children:
        child.worker.end(0.1)
        assert not child.exists()


def test_frames_go_both_ways_whole(start):
    child = start(ECHO)
    payload = bytes(range(256)) * 8192
    child.worker.send({"type": "train"}, payload)
    echo = child.next()
    assert (echo.header["was"], echo.payload) == ("train", payload)


def test_the_worker_learns_nothing_that_it_does_not_need(start, monkeypatch):
    monkeypatch.setenv("CONSTELLATION_DATA", "/data")
    monkeypatch.setenv("CONSTELLATION_SECRET", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    child = start(ECHO)
    child.worker.send({"type": "train"})
    names = child.next().header["names"]
    assert {"PATH", "CONSTELLATION_DATA"} <= set(names)
    assert not [name for name in names if "SECRET" in name]


def test_ending_closes_its_input_and_says_that_it_is_gone(start):
    child = start(ECHO)
    child.worker.end(DEADLINE)
    assert child.next() is None
    assert not child.exists()


def test_a_killed_worker_is_reported_and_leaves_no_zombie(start):
    child = start(ECHO)
    psutil.Process(child.worker.pid).kill()
    assert child.next() is None
    assert not child.exists()
    child.worker.send({"type": "train"}, b"into the void")


def test_a_worker_that_writes_something_else_than_frames_is_ended(start):
    child = start(NOISY)
    assert child.next() is None
    assert not child.exists()


def test_a_worker_that_does_not_go_is_killed(start):
    child = start(DEAF)
    began = time.monotonic()
    child.worker.end(0.2)
    assert time.monotonic() - began < 2
    assert child.next() is None


def test_a_suspended_worker_can_be_ended(start):
    child = start(ECHO)
    psutil.Process(child.worker.pid).send_signal(signal.SIGSTOP)
    child.worker.end(0.2)
    assert child.next() is None


def test_a_worker_that_reads_nothing_does_not_hold_up_its_end(start):
    child = start(UNREADING)
    writer = threading.Thread(target=child.worker.send, args=({"type": "train"}, bytes(10_000_000)))
    writer.start()
    writer.join(0.2)
    assert writer.is_alive(), "the pipe took it all"
    child.worker.end(0.2)
    writer.join(DEADLINE)
    assert not writer.is_alive()
    assert child.next() is None


def test_ending_twice_is_fine(start):
    child = start(ECHO)
    child.worker.end()
    child.worker.end()
