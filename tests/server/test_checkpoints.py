from pathlib import Path
from typing import Any

import pytest

from fl_server.exceptions import NotFound
from fl_server.models import Checkpoint, Run, TrainingJob
from fl_server.services import checkpoints
from fl_server.services.rounds import CheckpointFile
from tests.server import cluster, world

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.CHECKPOINTS_DIR = tmp_path / "checkpoints"
    settings.CHECKPOINTS_DIR.mkdir()
    return settings.CHECKPOINTS_DIR


@pytest.fixture
def run() -> Run:
    cluster.idle("desk")
    return cluster.led()


def checkpoint(run: Run, number: int = 1, path: str = "model.safetensors", **metrics: float) -> Checkpoint:
    return run.checkpoints.create(
        job=run.job, round_number=number, path=path, sha256="a" * 64, size=1, metrics=metrics
    )


def with_metric(run: Run, name: str, direction: str) -> TrainingJob:
    run.job.spec = {**run.job.spec, "metric": {"name": name, "direction": direction}}
    run.job.save()
    return run.job


def best(job: TrainingJob) -> int | None:
    checkpoints.mark_best(job)
    found = TrainingJob.objects.get(pk=job.pk).best_checkpoint
    return found and found.round_number


def test_the_file_of_a_checkpoint_lies_in_the_folder(run: Run, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"x")
    assert checkpoints.file_path(checkpoint(run)).read_bytes() == b"x"


def test_the_folder_may_be_a_link_to_a_larger_disk(run: Run, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "model.safetensors").write_bytes(b"x")
    settings.CHECKPOINTS_DIR = tmp_path / "link"
    settings.CHECKPOINTS_DIR.symlink_to(tmp_path / "large")
    assert checkpoints.file_path(checkpoint(run)).read_bytes() == b"x"


@pytest.mark.parametrize("path", ["../secret", "job-1/../../secret", "{outside}", "link", "", ".", "missing"])
def test_no_path_leads_out_of_the_folder(run: Run, folder: Path, path: str) -> None:
    secret = folder.parent / "secret"
    secret.write_bytes(b"a key")
    (folder / "job-1").mkdir()
    (folder / "link").symlink_to(secret)
    with pytest.raises(NotFound) as caught:
        checkpoints.file_path(checkpoint(run, path=path.format(outside=secret)))
    assert caught.value.code == "checkpoint-file-missing"
    assert str(folder) not in caught.value.message


@pytest.mark.parametrize(
    ("name", "direction", "number"),
    [
        ("accuracy", "maximize", 2),
        ("accuracy", "minimize", 3),
        ("loss", "minimize", 3),
        ("loss", "maximize", 1),
    ],
)
def test_the_best_checkpoint_follows_the_declared_direction(
    run: Run, name: str, direction: str, number: int
) -> None:
    checkpoint(run, 1, accuracy=0.5, loss=0.9)
    checkpoint(run, 2, accuracy=0.8, loss=0.5)
    checkpoint(run, 3, accuracy=0.4, loss=0.2)
    checkpoint(run, 4)
    assert best(with_metric(run, name, direction)) == number


def test_without_an_evaluation_there_is_no_best(run: Run) -> None:
    checkpoint(run, 1)
    assert best(with_metric(run, "accuracy", "maximize")) is None


def test_what_devices_report_does_not_make_a_checkpoint_best(run: Run) -> None:
    checkpoint(run, 1, **{"train-accuracy": 1.0, "eval-accuracy": 1.0})
    assert best(with_metric(run, "accuracy", "maximize")) is None


def test_an_evaluation_is_kept_with_the_checkpoint_its_round_and_the_job(run: Run) -> None:
    row = world.committed(run, 1, {})
    stored = checkpoint(run, 1, **{"train-loss": 0.5})
    with cluster.heard() as heard:
        checkpoints.evaluated(stored, {"loss": 0.4, "accuracy": 0.8})
    stored.refresh_from_db()
    row.refresh_from_db()
    assert stored.metrics == {"train-loss": 0.5, "loss": 0.4, "accuracy": 0.8}
    assert row.evaluation == {"loss": 0.4, "accuracy": 0.8}
    assert TrainingJob.objects.get(pk=run.job_id).best_checkpoint == stored
    assert {(m["event"], m["number"]) for m in heard} == {("evaluation", 1)}
    assert len(heard) == 2


def test_a_loss_that_is_no_number_is_left_out(run: Run) -> None:
    world.committed(run, 1, {})
    stored = checkpoint(run, 1)
    checkpoints.evaluated(stored, {"loss": float("nan"), "accuracy": 0.1})
    stored.refresh_from_db()
    assert stored.metrics == {"accuracy": 0.1}


def test_the_first_weights_of_a_job_are_added_once(run: Run) -> None:
    first = checkpoints.add_initial(run, CheckpointFile("first", "a" * 64, 1), {})
    again = checkpoints.add_initial(run, CheckpointFile("second", "b" * 64, 2), {})
    assert again == first
    assert (again.round_number, again.path) == (0, "first")
