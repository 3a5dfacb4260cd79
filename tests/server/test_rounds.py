from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from fl_server import kick
from fl_server.models import Checkpoint, Round, Run
from fl_server.services import rounds, runs
from fl_server.services.rounds import CheckpointFile, RoundReport
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

FILE = CheckpointFile("job-000001/run-0001-round-000001.safetensors", "a" * 64, 1234, "b" * 64)


@pytest.fixture
def run() -> Run:
    cluster.idle("desk")
    return cluster.led()


def report(number: int = 1, **facts: Any) -> RoundReport:
    end = timezone.now()
    return RoundReport(number=number, started_at=end - timedelta(seconds=2), finished_at=end, **facts)


def test_a_round_its_checkpoint_and_its_event_come_together(run: Run) -> None:
    with cluster.heard() as heard:
        row = rounds.commit(
            run, report(examples=600, accepted=1, metrics={"train-loss": 0.5}), FILE, evaluate=False
        )
    checkpoint = Checkpoint.objects.get()
    assert (row.job_id, row.number, row.examples, row.seconds) == (run.job_id, 1, 600, 2.0)
    assert (checkpoint.round_number, checkpoint.path, checkpoint.size) == (1, FILE.path, 1234)
    assert (checkpoint.sha256, checkpoint.state_sha256) == (FILE.sha256, FILE.state_sha256)
    assert {message["group"] for message in heard} == {"jobs", f"job-{run.job_id}"}
    assert {(message["event"], message["number"], message["accepted"]) for message in heard} == {
        ("round", 1, 1)
    }


def test_a_commit_is_a_sign_of_life(run: Run) -> None:
    before = run.lease_until
    rounds.commit(run, report(), FILE, evaluate=False)
    run.refresh_from_db()
    assert run.lease_until > before


def test_a_commit_that_is_repeated_after_it_went_through_finds_its_round(run: Run) -> None:
    row = rounds.commit(run, report(), FILE, evaluate=False)
    with cluster.heard() as heard:
        assert rounds.commit(run, report(), FILE, evaluate=False) == row
    assert (Round.objects.count(), Checkpoint.objects.count(), heard) == (1, 1, [])


def test_a_round_of_a_job_is_committed_by_one_run_only(run: Run) -> None:
    rounds.commit(run, report(), FILE, evaluate=False)
    runs.fail(run, "serverapp-lost", "gone")
    successor = cluster.led(run.job)
    with pytest.raises(IntegrityError):
        rounds.commit(successor, report(1), FILE, evaluate=False)
    assert Round.objects.get().run == run


def test_a_run_that_was_superseded_commits_nothing(run: Run) -> None:
    runs.fail(Run.objects.get(pk=run.pk), "serverapp-lost", "gone")
    cluster.led(run.job)
    with cluster.heard() as heard, pytest.raises(runs.Superseded):
        rounds.commit(run, report(), FILE, evaluate=False)
    assert heard == []
    assert not Round.objects.exists()


def test_an_older_fence_is_refused_while_its_run_is_active(run: Run) -> None:
    run.fence -= 1
    with pytest.raises(runs.Superseded):
        rounds.commit(run, report(), FILE, evaluate=False)
    assert not Round.objects.exists()


def test_without_its_checkpoint_no_round_is_committed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise IntegrityError("the disk is full")

    monkeypatch.setattr(Checkpoint.objects, "create", fail)
    before = Run.objects.get(pk=run.pk).lease_until
    with cluster.heard() as heard, pytest.raises(IntegrityError):
        rounds.commit(run, report(), FILE, evaluate=True)
    assert (Round.objects.count(), heard) == (0, [])
    assert Run.objects.get(pk=run.pk).lease_until == before


@pytest.mark.parametrize("wanted", [True, False])
def test_the_checkpoint_is_evaluated_where_that_is_wanted(
    run: Run, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(kick, "evaluate", asked.append)
    rounds.commit(run, report(), FILE, evaluate=wanted)
    assert asked == ([Checkpoint.objects.get().pk] if wanted else [])
