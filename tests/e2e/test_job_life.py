"""Pausing a job that trains, and replacing a machine that left: with the real engine and real clients."""

import pytest

from tests.e2e.api import BOTH, RESEARCHER, WARMED_UP, Job, until
from tests.e2e.platform import DESKS, Platform, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
SOON = 10.0  # seconds


def idle(platform: Platform, job: Job) -> bool:
    return all(row["presence"] == "idle" for row in job.api.rows("devices", name="desk-"))


def test_a_job_pauses_between_two_rounds_and_goes_on_with_the_next(platform: Platform) -> None:
    job = platform.login(RESEARCHER).job("Breaks", rounds=200, participation=BOTH)
    until(lambda: len(job.rounds()) >= 2, "round 2 is done", WARMED_UP)
    job.api.post(f"jobs/{job.number}/pause")
    until(lambda: job.now()["status"] == "paused", "it pauses", WARMED_UP)
    until(lambda: idle(platform, job), "its devices are free", SOON)
    until(lambda: not platform.services("flwr-serverapp"), "its process has gone", SOON)
    done = len(job.rounds())
    assert {part["round"] for part in job.parts()} == set(range(1, done + 1)), "a half-begun round is left"
    assert {part["status"] for part in job.parts()} == {"accepted"}
    job.api.post(f"jobs/{job.number}/resume")
    until(lambda: len(job.rounds()) > done, "the next round", WARMED_UP)
    job.api.post(f"jobs/{job.number}/pause", {"now": True})
    assert job.now()["status"] == "paused"
    until(lambda: idle(platform, job), "its devices are free", SOON)
    job.api.post(f"jobs/{job.number}/cancel")
    rows = job.rounds()
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[done]["run"] == 2
    assert set(job.checkpoints()) == set(range(len(rows) + 1))


def test_a_machine_that_left_for_good_is_replaced(tmp_path_factory: pytest.TempPathFactory) -> None:
    desks = (*DESKS, "desk-3")
    with running(tmp_path_factory.mktemp("three"), *desks, CONSTELLATION_REPLACE_AFTER="12") as platform:
        job = platform.login(RESEARCHER).job("Leavers", rounds=1000)
        until(lambda: len(job.rounds()) >= 1, "round 1 is done", WARMED_UP)
        at_work = {part["device_name"] for part in job.parts(round=1)}
        assert len(at_work) == 2
        gone = sorted(at_work)[0]
        next(client for client in platform.clients if client.name == gone).kill()
        (spare,) = set(desks) - at_work
        until(
            lambda: any(part["status"] == "accepted" for part in job.parts() if part["device_name"] == spare),
            f"{spare} took the place of {gone}",
            60,
        )
        job.api.post(f"jobs/{job.number}/cancel")
        moves = [move["sentence"] for move in job.api.rows(f"jobs/{job.number}/events")]
        assert f"{spare} takes the place of {gone}, which is away." in moves
        assert {row["run"] for row in job.rounds()} == {1}
