"""The whole way: an owner pauses the machine in the middle of a round, and what it did so far counts."""

import time

import pytest

from tests.e2e.api import RESEARCHER, SPEC, WARMED_UP, Api, Job, until
from tests.e2e.platform import DESKS, Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

# Twenty batches a device, each of them some tenths of a second.
LONG = SPEC | {
    "model": {"name": "cnn"},
    "rounds": 2,
    "training": {"batch_size": 200, "learning_rate": 0.05},
    "participation": {"min_devices": 2, "max_devices": 2, "quorum": 1, "grace_seconds": 3600},
    "evaluation": "off",
}


@pytest.fixture(scope="module")
def researcher(platform: Platform) -> Api:
    return platform.login(RESEARCHER)


def test_a_paused_device_frees_the_machine_and_hands_in_what_it_did(
    platform: Platform, researcher: Api
) -> None:
    job = researcher.job("Long rounds", **LONG)
    paused, other = (client for client in platform.clients if client.name in DESKS)
    until(lambda: _status(job, paused.name) == "training", "the device trains", WARMED_UP)
    time.sleep(2.0)  # some batches
    status, said, _ = paused.call("pause", "1h", "--reason", "a talk")
    assert (status, "paused" in said) == (0, True)
    until(lambda: _status(job, paused.name) == "parked", "the platform knows", 5)
    worker = paused.worker()
    assert worker is not None
    before = sum(worker.cpu_times()[:2])
    time.sleep(1.0)
    assert sum(worker.cpu_times()[:2]) - before < 0.1

    until(job.rounds, "the round closed", 60)
    first = job.rounds()[0]
    parts = {part["device_name"]: part for part in job.parts() if part["round"] == 1}
    assert {part["status"] for part in parts.values()} == {"accepted"}
    assert parts[other.name]["examples"] == 4000
    assert 200 <= parts[paused.name]["examples"] < 4000
    assert parts[paused.name]["examples"] % 200 == 0
    assert first["examples"] == sum(part["examples"] for part in parts.values())
    (device,) = researcher.rows("devices", name=paused.name)
    assert (device["presence"], device["may_train"]) == ("paused", False)

    assert paused.call("resume")[0] == 0
    job.completed()
    platform.online(researcher, paused.name, seconds=10)
    status, history, _ = paused.call("history", "--csv")
    assert status == 0
    assert "partial" in history
    assert "Long rounds" in history


def _status(job: Job, name: str) -> str:
    return next((part["status"] for part in job.parts() if part["device_name"] == name), "")
