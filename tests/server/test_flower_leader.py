"""How a ServerApp sets up its rounds, and how it ends."""

import threading
from typing import Any

import pytest

from fl_server import spec
from fl_server.flower import leader, lease
from fl_server.flower.grid import EngineLost
from fl_server.models import Run, TrainingJob
from fl_server.services import pausing, rounds, runs
from strategies.link import Stopped
from tests.server import cluster

pytestmark = pytest.mark.services


@pytest.mark.parametrize(
    ("wanted", "closes_at"),
    [
        ({}, None),
        ({"min_devices": 2, "quorum": 2}, 2),
        ({"min_devices": 2, "target_devices": 4, "over_selection": 0.5}, 4),
        ({"min_devices": 2, "quorum": 2, "target_devices": 4}, 2),
    ],
)
def test_a_round_closes_at_its_quorum_or_at_the_answers_that_are_wanted(
    wanted: dict[str, Any], closes_at: int | None
) -> None:
    participation = spec.Participation.model_validate(wanted)
    found = leader.waiting_for(participation)
    assert found.quorum == closes_at
    assert (found.deadline, found.grace) == (600.0, 2.0)


def test_a_run_takes_more_devices_than_it_wants_answers() -> None:
    assert spec.Participation(min_devices=2, target_devices=4, over_selection=0.5).selected == 6


@pytest.mark.django_db
class TestEnds:
    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch) -> Run:
        """A test is one transaction, which the lease's thread does not see and a fresh connection loses."""
        monkeypatch.setattr(lease, "close_old_connections", lambda: None)
        monkeypatch.setattr(leader.engine, "quicken_pulls", lambda: None)
        monkeypatch.setattr(leader, "Lease", lambda *_: threading.Lock())
        cluster.idle_devices(2)
        run = cluster.claimed()
        runs.launched(run)
        return run

    def lead(self, run: Run, monkeypatch: pytest.MonkeyPatch, train: Any) -> tuple[Run, TrainingJob]:
        class Leads:
            def __init__(self, *_: Any) -> None:
                pass

            def train(self) -> None:
                train()

        monkeypatch.setattr(leader, "Leader", Leads)
        leader.lead(None, run.pk, run.fence)  # type: ignore[arg-type]
        run.refresh_from_db()
        return run, TrainingJob.objects.get(pk=run.job_id)

    def test_an_engine_that_is_lost_is_tried_again(self, run, monkeypatch):
        def train() -> None:
            raise EngineLost("The engine did not answer for 60 s.")

        ended, job = self.lead(run, monkeypatch, train)
        assert (ended.status, ended.reason_code, job.status) == ("failed", "engine-lost", "queued")

    def test_a_run_that_paused_ends_quietly_at_its_next_round(self, run, monkeypatch):
        def train() -> None:
            pausing.pause(run.job, cluster.researcher(), now=True)
            rounds.begin(run, 2, [])

        ended, job = self.lead(run, monkeypatch, train)
        assert (ended.status, ended.reason_code, ended.traceback) == ("cancelled", "paused", "")
        assert job.status == "paused"

    @pytest.mark.parametrize("error", [Stopped("stopped"), EngineLost("The engine has ended the run.")])
    def test_what_a_stopped_run_meets_in_the_engine_changes_nothing(self, run, monkeypatch, error):
        def train() -> None:
            runs.cancel(Run.objects.get(pk=run.pk), "Cancelled by rosa.")
            raise error

        ended, _ = self.lead(run, monkeypatch, train)
        assert (ended.status, ended.reason_code) == ("cancelled", "cancelled")
