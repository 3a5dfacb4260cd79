"""New jobs made of old ones, and the weights that they begin with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from django.utils import timezone

from fl_server import evaluation, roles
from fl_server.exceptions import InvalidInput, InvalidSpec, NotAllowed, NotFound
from fl_server.models import AuditEvent, Checkpoint, Run, TrainingJob
from fl_server.services import checkpoints, copies, jobs
from tests.server import cluster, world

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status
SAMPLE = {"name": "fashion-mnist", "options": {"source": "sample"}}
SMALL = {"dataset": SAMPLE, "model": {"name": "2nn"}}


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Iterator[Path]:
    settings.CHECKPOINTS_DIR = tmp_path
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def prepared(job: TrainingJob) -> Run:
    run = cluster.claimed(job)
    evaluation.prepare(run)
    run.refresh_from_db()
    return run


def first_weights(run: Run) -> Checkpoint:
    return Checkpoint.objects.get(run=run, round_number=0)


def test_a_clone_is_a_draft_of_ones_own_with_the_same_specification() -> None:
    job = cluster.queued(rounds=7, priority=9)
    rudi = world.person("rudi", roles.RESEARCHER)
    copy = copies.clone(job, rudi)
    assert (copy.status, copy.owner, copy.name) == (Status.DRAFT, rudi, "Clothes (copy)")
    assert (copy.spec, copy.priority, copy.cloned_from) == (job.spec, job.spec["priority"], job)
    assert list(AuditEvent.objects.values_list("action", "actor__username")) == [("job.create", "rudi")]


def test_it_may_get_a_name_of_its_own() -> None:
    assert copies.clone(cluster.queued(), cluster.researcher(), name="Shirts").name == "Shirts"


@pytest.mark.parametrize(
    ("name", "copied"),
    [("Clothes (copy)", "Clothes (copy)"), ("x" * 120, "x" * 113 + " (copy)")],
)
def test_the_name_of_a_copy_never_grows_too_long(name: str, copied: str) -> None:
    assert copies.copy_name(name) == copied
    assert len(copied) <= 120


def test_a_rerun_is_queued_at_once() -> None:
    job = cluster.queued()
    jobs.cancel(job, cluster.researcher())
    again = copies.rerun(job, cluster.researcher())
    assert (again.status, again.cloned_from, again.pk != job.pk) == (Status.QUEUED, job, True)


@pytest.mark.parametrize("action", [copies.clone, copies.rerun])
def test_only_researchers_and_admins_copy(action: Any) -> None:
    job = cluster.queued()
    with pytest.raises(NotAllowed):
        action(job, world.person("vera", roles.VIEWER))
    assert TrainingJob.objects.count() == 1


def test_a_job_whose_model_the_catalogue_no_longer_has_is_not_copied() -> None:
    job = cluster.queued()
    job.spec["model"] = {"name": "gone", "options": {}}
    job.save()
    with pytest.raises(InvalidSpec):
        copies.rerun(job, cluster.researcher())


def test_a_copy_from_a_checkpoint_begins_with_its_weights_as_round_0() -> None:
    cluster.idle_devices(2)
    old = prepared(cluster.queued(seed=5, participation={"max_devices": 1}, **SMALL))
    start = first_weights(old)
    other = cluster.queued("Other", seed=6, participation={"max_devices": 1}, **SMALL)
    copy = copies.clone(other, cluster.researcher(), checkpoint=start)
    jobs.cancel(other, cluster.researcher())
    jobs.submit(copy, cluster.researcher())
    begun = first_weights(prepared(copy))
    assert begun.job == copy
    assert begun.path != start.path
    assert checkpoints.document(begun) == checkpoints.document(start)


def test_without_one_it_begins_with_new_weights_of_its_seed() -> None:
    cluster.idle_devices(2)
    one = prepared(cluster.queued(seed=5, participation={"max_devices": 1}, **SMALL))
    other = prepared(cluster.queued("Other", seed=6, participation={"max_devices": 1}, **SMALL))
    assert first_weights(one).sha256 != first_weights(other).sha256


def test_a_rerun_of_a_copy_starts_as_the_copy_did() -> None:
    start = stored(cluster.queued())
    copy = copies.clone(start.job, cluster.researcher(), checkpoint=start)
    assert copies.rerun(copy, cluster.researcher()).start_checkpoint == start


def stored(job: TrainingJob, **fields: Any) -> Checkpoint:
    run = Run.objects.create(job=job, number=1, fence=1, partitions=1, status=Run.Status.COMPLETED)
    return Checkpoint.objects.create(
        job=job, run=run, round_number=3, path="gone.safetensors", sha256="a" * 64, size=1, **fields
    )


def test_weights_of_another_model_are_refused_by_name() -> None:
    start = stored(cluster.queued(model={"name": "2nn"}))
    with pytest.raises(
        InvalidInput, match=f"checkpoint {start.pk} holds the weights of 2nn.*trains lenet"
    ) as info:
        copies.clone(cluster.queued("Other"), cluster.researcher(), checkpoint=start)
    assert info.value.field == "start_checkpoint"
    assert TrainingJob.objects.count() == 2


def test_a_checkpoint_that_was_removed_starts_nothing() -> None:
    start = stored(cluster.queued(), removed_at=timezone.now())
    with pytest.raises(NotFound):
        copies.clone(start.job, cluster.researcher(), checkpoint=start)


def test_a_file_that_vanished_meanwhile_fails_the_job_with_the_reason() -> None:
    cluster.idle("desk")
    start = stored(cluster.queued(**SMALL))
    copy = copies.clone(start.job, cluster.researcher(), checkpoint=start, submit=True)
    jobs.cancel(start.job, cluster.researcher())
    prepared(copy)
    copy.refresh_from_db()
    assert (copy.status, copy.reason_code) == (Status.FAILED, "checkpoint-file-missing")
    assert "no longer on the server" in copy.reason
