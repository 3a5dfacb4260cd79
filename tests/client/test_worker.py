import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fl_client import frames, models, snapshot, weights
from tests.client.assignments import assignment

pytestmark = pytest.mark.e2e


class Process:
    """A real worker and the two ends of its pipe."""

    def __init__(self, folder: Path) -> None:
        self.keep = folder / "round.safetensors"
        environment = {**os.environ, "CONSTELLATION_THREADS": "1", "CONSTELLATION_DEVICE": "cpu"}
        environment["CONSTELLATION_NICE"] = "7"
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "fl_client.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        frames.write(self.popen.stdin, header, payload)

    def prepare(self, **changes: Any) -> frames.Frame:
        self.send({"type": "prepare", "assignment": assignment(**changes)})
        return self.answer()

    def train(self, round_number: int, payload: bytes, run: int = 12, resume: bool = False) -> None:
        header = {"type": "train", "run": run, "round": round_number, "fence": 7, "config": {}}
        self.send({**header, "keep": str(self.keep), "resume": resume}, payload)

    def receive(self) -> frames.Frame:
        frame = frames.read(self.popen.stdout)
        assert frame is not None, "the worker ended"
        return frame

    def answer(self) -> frames.Frame:
        """The next frame that is no progress."""
        while (frame := self.receive()).type == "progress":
            pass
        return frame

    def leave(self) -> tuple[int, str]:
        """Close the pipe; the exit status and everything that was logged."""
        self.popen.stdin.close()
        status = self.popen.wait(5)
        log = self.popen.stderr.read().decode()
        self.end()
        return status, log

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            stream.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("shared"))
    hello = process.receive()
    assert hello.header == {"type": "hello", "pid": process.popen.pid, "device": "cpu", "payload": 0}
    yield process
    process.end()


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.receive()
    yield process
    process.end()


def start(name: str = "2nn") -> bytes:
    return weights.pack(models.initial_weights(name, {}, 42))


def test_a_worker_prepares_and_trains_rounds_that_make_the_model_better(shared):
    prepared = shared.prepare()
    assert (prepared.type, prepared.header["run"], prepared.header["rows"]) == ("prepared", 12, 400)
    assert prepared.header["seconds"] > 0
    payload, losses = start(), []
    for round_number in (1, 2, 3):
        shared.train(round_number, payload)
        result = shared.answer()
        assert result.type == "result"
        assert [result.header[key] for key in ("run", "round", "fence", "examples")] == [
            12,
            round_number,
            7,
            400,
        ]
        payload = result.payload
        losses.append(result.header["metrics"]["train-loss"])
    assert losses == sorted(losses, reverse=True)
    assert set(weights.unpack(payload)) == set(models.initial_weights("2nn", {}, 42))


def test_a_round_is_stopped_in_the_middle_and_can_be_asked_for_again(shared):
    shared.prepare(training={"epochs": 1000, "batch_size": 5})
    shared.train(1, start())
    progress = shared.receive()
    assert progress.type == "progress"
    assert progress.header["batches"] == 80_000
    shared.send({"type": "cancel", "round": 1})
    asked = time.monotonic()
    cancelled = shared.answer()
    assert (cancelled.type, cancelled.header["round"]) == ("cancelled", 1)
    assert time.monotonic() - asked < 1
    shared.train(1, start())
    assert shared.receive().header["batch"] < 80_000
    shared.send({"type": "cancel", "round": 1})
    assert shared.answer().type == "cancelled"


def test_a_round_that_is_cancelled_while_it_waits_is_never_begun(shared):
    shared.prepare(training={"epochs": 1000, "batch_size": 5})
    shared.train(1, start())
    shared.train(2, start())
    shared.receive()
    shared.send({"type": "cancel", "round": 2})
    shared.send({"type": "cancel", "round": 1})
    assert [shared.answer().header["round"] for _ in range(2)] == [1, 2]


def test_progress_comes_at_most_five_times_a_second(shared):
    shared.prepare(training={"epochs": 1000, "batch_size": 5})
    shared.train(1, start())
    shared.receive()
    began, batches = time.monotonic(), [shared.receive().header["batch"] for _ in range(4)]
    assert 0.7 < time.monotonic() - began < 5
    shared.send({"type": "cancel", "round": 1})
    shared.answer()
    assert batches == sorted(set(batches))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": {"name": "resnet"}}, "unknown-name"),
        ({"model": {"options": {"depth": 2}}}, "bad-options"),
        ({"training": {"epochs": "many"}}, "bad-assignment"),
        ({"partition": {"count": 9000}}, "partition-impossible"),
    ],
)
def test_an_assignment_that_cannot_be_done_is_answered_with_its_code(shared, changes, code):
    error = shared.prepare(**changes)
    assert (error.type, error.header["code"], error.header["round"]) == ("error", code, None)
    assert error.header["message"]


@pytest.mark.parametrize(
    ("payload", "run", "code"),
    [(b"nothing", 12, "weights-mismatch"), (None, 12, "weights-mismatch"), (b"", 13, "not-prepared")],
)
def test_a_round_that_cannot_be_trained_is_answered_with_its_code(shared, payload, run, code):
    shared.prepare()
    shared.train(4, start("lenet") if payload is None else payload, run)
    error = shared.answer()
    assert (error.type, error.header["code"], error.header["round"]) == ("error", code, 4)


def test_divergence_is_answered_with_its_code_and_the_worker_lives_on(shared):
    shared.prepare(training={"learning_rate": 1e6})
    shared.train(1, start())
    assert shared.answer().header["code"] == "diverged"
    assert shared.prepare().type == "prepared"


def test_a_failure_that_nobody_expected_leaves_its_traceback_in_the_log_and_not_on_the_pipe(single):
    single.prepare()
    single.send(
        {"type": "train", "run": 12, "round": 1, "fence": 7, "config": {"proximal-mu": "much"}}, start()
    )
    error = single.answer()
    assert (error.type, error.header["code"]) == ("error", "internal")
    status, log = single.leave()
    assert status == 0
    assert "Traceback" in log


def test_a_worker_that_trains_ends_within_a_second_of_its_pipe(single):
    single.prepare(training={"epochs": 1000, "batch_size": 5})
    single.train(1, start())
    single.receive()
    began = time.monotonic()
    status, _ = single.leave()
    assert status == 0
    assert time.monotonic() - began < 1


def test_a_pipe_that_carries_no_frames_ends_the_worker_with_a_failure(single):
    single.popen.stdin.write(b"\xff" * 64)
    status, log = single.leave()
    assert status == 1
    assert "FrameError" in log


def test_what_a_library_prints_stays_off_the_pipe(tmp_path):
    script = (
        "import sys; from fl_client.worker import pipe_of_our_own; from fl_client import frames\n"
        "out = pipe_of_our_own(); print('chatter', flush=True); frames.write(out, {'type': 'hello'})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert b"chatter" in done.stderr
    assert b"chatter" not in done.stdout
    assert b"hello" in done.stdout


def test_two_workers_give_the_same_bytes_for_the_same_round(shared, single):
    results = []
    for process in (shared, single):
        process.prepare()
        process.train(2, start())
        results.append(process.answer().payload)
    assert results[0] == results[1]
    assert all(np.isfinite(array).all() for array in weights.unpack(results[0]).values())


def test_a_round_that_is_parked_in_one_worker_goes_on_in_another_as_if_nothing_had_happened(shared, single):
    small = {"training": {"epochs": 40, "batch_size": 10}}
    shared.prepare(**small)
    shared.train(1, start())
    assert shared.receive().type == "progress"
    shared.send({"type": "park"})
    parked = shared.answer()
    assert (parked.type, parked.header["round"]) == ("parked", 1)
    head = snapshot.read_head(shared.keep)
    assert 0 < head.done < head.batches == 1600
    single.keep = shared.keep
    single.prepare(**small)
    single.train(1, start(), resume=True)
    resumed = single.answer()
    shared.train(1, start())
    assert resumed.payload == shared.answer().payload
    assert resumed.header["examples"] == 400


def test_a_worker_that_has_nothing_to_park_goes_on_with_what_comes_next(shared):
    shared.prepare()
    shared.send({"type": "park"})
    shared.train(1, start())
    assert shared.answer().type == "result"


def test_a_snapshot_of_another_round_is_not_gone_on_from(shared):
    shared.prepare()
    shared.train(1, start())
    whole = shared.answer().payload
    shared.keep.write_bytes(b"damaged")
    shared.train(1, start(), resume=True)
    assert shared.answer().payload == whole


def test_threads_and_niceness_are_those_that_were_lent(single):
    single.send({"type": "limits", "threads": 2})
    single.prepare()
    single.train(1, start())
    assert single.answer().type == "result"
    assert psutil.Process(single.popen.pid).nice() == 7
