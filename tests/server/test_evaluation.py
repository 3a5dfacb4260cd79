from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fl_client import weights
from fl_server import evaluation, kick, tasks
from fl_server.models import Checkpoint, Run, TrainingJob
from fl_server.services import checkpoints
from strategies import checkpoint as files
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

SAMPLE = {"name": "fashion-mnist", "options": {"source": "sample"}}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.CHECKPOINTS_DIR = tmp_path
    return tmp_path


def run_of(**changes: Any) -> Run:
    cluster.idle_devices(2)
    return cluster.claimed(cluster.queued(**({"dataset": SAMPLE, "model": {"name": "2nn"}} | changes)))


def test_preparation_writes_the_first_weights_deals_the_rows_and_has_them_tested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(kick, "evaluate", asked.append)
    run = run_of(seed=5)
    evaluation.prepare(run)
    run.refresh_from_db()
    first = run.job.checkpoints.get()
    assert asked == [first.pk]
    tasks.evaluate_checkpoint(first.pk)
    first.refresh_from_db()
    arrays = weights.unpack(checkpoints.file_path(first).read_bytes())
    assert first.round_number == 0
    assert sum(array.size for array in arrays.values()) == 199_210
    assert run.prepared_at is not None
    rows = list(run.reservations.values_list("rows", flat=True))
    assert len(rows) == 2
    assert abs(rows[0] - rows[1]) <= 1
    assert set(first.metrics) == {"loss", "accuracy", "examples"}
    assert 0 <= first.metrics["accuracy"] < 0.4
    assert TrainingJob.objects.get(pk=run.job_id).best_checkpoint == first


def test_preparing_again_keeps_the_first_weights() -> None:
    run = run_of(evaluation="off")
    evaluation.prepare(run)
    before = Checkpoint.objects.get()
    evaluation.prepare(run)
    assert Checkpoint.objects.get().sha256 == before.sha256


def test_the_same_seed_gives_the_same_first_weights() -> None:
    cluster.idle_devices(3)
    options = {"dataset": SAMPLE, "evaluation": "off", "participation": {"max_devices": 1}}
    for seed in (7, 7, 8):
        evaluation.prepare(cluster.claimed(cluster.queued(seed=seed, **options)))
    sums = list(Checkpoint.objects.order_by("pk").values_list("sha256", flat=True))
    assert len(sums) == 3
    assert sums[0] == sums[1] != sums[2]


def test_where_no_evaluation_is_wanted_none_is_made() -> None:
    run = run_of(evaluation="off")
    evaluation.prepare(run)
    assert run.job.checkpoints.get().metrics == {}


def test_a_job_whose_rows_cannot_be_dealt_fails_with_the_reason() -> None:
    run = run_of(partition={"scheme": "dirichlet", "options": {"min_size": 10_000_000}})
    evaluation.prepare(run)
    job = TrainingJob.objects.get(pk=run.job_id)
    assert (job.status, job.reason_code) == (TrainingJob.Status.FAILED, "partition-impossible")
    assert "10000000" in job.reason
    assert not run.reservations.filter(released_at__isnull=True).exists()


def test_a_job_whose_data_is_missing_fails_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONSTELLATION_DATA", str(tmp_path))
    run = run_of(dataset={"name": "fashion-mnist", "options": {"source": "folder"}})
    evaluation.prepare(run)
    job = TrainingJob.objects.get(pk=run.job_id)
    assert (job.status, job.reason_code) == (TrainingJob.Status.FAILED, "data-missing")


def test_a_checkpoint_whose_file_is_gone_is_left_alone() -> None:
    run = run_of(evaluation="off")
    evaluation.prepare(run)
    checkpoint = Checkpoint.objects.get()
    checkpoints.file_path(checkpoint).unlink()
    evaluation.evaluate(checkpoint)
    assert Checkpoint.objects.get().metrics == {}


def test_a_checkpoint_of_another_model_is_left_alone(folder: Path) -> None:
    run = run_of(evaluation="off")
    evaluation.prepare(run)
    path = files.model_path(run.job_id, run.number, 1)
    other = weights.pack({"w": torch.zeros(3).numpy()})
    written = files.write(folder / path, other)
    strange = run.checkpoints.create(
        job=run.job, round_number=1, path=path, sha256=written.sha256, size=written.size
    )
    evaluation.evaluate(strange)
    strange.refresh_from_db()
    assert strange.metrics == {}


def test_a_checkpoint_that_was_changed_is_left_alone() -> None:
    run = run_of(evaluation="off")
    evaluation.prepare(run)
    checkpoint = Checkpoint.objects.get()
    path = checkpoints.file_path(checkpoint)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    evaluation.evaluate(checkpoint)
    assert Checkpoint.objects.get().metrics == {}
