"""What a sweep does to rows and files."""

import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from fl_server import weight_files
from fl_server.exceptions import NotFound
from fl_server.models import Checkpoint, Run, TrainingJob
from fl_server.services import checkpoints, retention
from strategies import checkpoint as files
from strategies.document import pack, unpack
from tests.server import cluster
from tests.server.test_lifecycle import race

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Storage = Checkpoint.Storage
LATER = timezone.now() + timedelta(hours=1)


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.CHECKPOINTS_DIR = tmp_path
    return tmp_path


def weights(number: int) -> dict[str, Any]:
    """Each round a little away from the one before, as training does."""
    first = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    step = np.random.default_rng(1).standard_normal(20_000).astype(np.float32)
    return {"layer.weight": first + np.float32(0.001 * number) * step, "steps": np.array(number)}


def stored(run: Run, number: int, **facts: Any) -> Checkpoint:
    path = files.model_path(run.job_id, run.number, number)
    root = Path(checkpoints.settings.CHECKPOINTS_DIR)
    state = files.write(root / files.state_path(path), b"state of round %d" % number)
    written = files.write(root / path, pack(weights(number)))
    return Checkpoint.objects.create(
        job=run.job,
        run=run,
        round_number=number,
        path=path,
        sha256=written.sha256,
        size=written.size,
        state_sha256=state.sha256,
        **facts,
    )


def job_with(rounds: int, **rule: Any) -> Run:
    """A job that ended after so many rounds, each with its checkpoint."""
    job = cluster.queued(checkpoints=rule)
    run = Run.objects.create(job=job, number=1, fence=1, partitions=1, status=Run.Status.COMPLETED)
    for number in range(rounds):
        stored(run, number)
    TrainingJob.objects.filter(pk=job.pk).update(status=TrainingJob.Status.COMPLETED)
    return run


def alive(run: Run) -> list[int]:
    rows = Checkpoint.objects.filter(job=run.job_id, removed_at__isnull=True)
    return sorted(rows.values_list("round_number", flat=True))


def at(run: Run, number: int) -> Checkpoint:
    return Checkpoint.objects.select_related("job").get(job=run.job_id, round_number=number)


def on_disk(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_sweep_removes_files_and_keeps_rows(folder: Path) -> None:
    run = job_with(5, keep_last=2)
    before = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    swept = retention.sweep(now=LATER)
    assert alive(run) == [3, 4]
    assert Checkpoint.objects.count() == 5
    assert len(on_disk(folder)) == 4
    assert swept.removed == 3
    after = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert swept.bytes_freed == before - after
    gone = at(run, 0)
    assert (gone.removed_at, gone.bytes_saved) == (LATER, gone.size)
    with pytest.raises(NotFound) as caught:
        checkpoints.opened(gone)
    assert caught.value.code == "checkpoint-removed"


def test_a_second_sweep_finds_nothing_to_do() -> None:
    job_with(5, keep_last=2, storage="delta")
    retention.sweep(now=LATER)
    assert retention.sweep(now=LATER) == retention.Swept()


def test_the_best_the_pinned_and_what_another_job_begins_with_stay() -> None:
    run = job_with(6, keep_last=1)
    Checkpoint.objects.filter(round_number=1).update(pinned=True)
    TrainingJob.objects.filter(pk=run.job_id).update(best_checkpoint=at(run, 2))
    job = cluster.queued("From there")
    TrainingJob.objects.filter(pk=job.pk).update(start_checkpoint=at(run, 3))
    retention.sweep(now=LATER)
    assert alive(run) == [1, 2, 3, 5]


def test_what_an_active_run_began_with_stays() -> None:
    run = job_with(6, keep_last=1)
    Run.objects.filter(pk=run.pk).update(status=Run.Status.RUNNING, first_round=3)
    retention.sweep(now=LATER)
    assert alive(run) == [2, 5]


def test_what_waits_for_its_evaluation_stays_for_a_while() -> None:
    run = job_with(4, keep_last=1)
    Checkpoint.objects.filter(round_number=1).update(metrics={"accuracy": 0.5})
    retention.sweep()
    assert alive(run) == [0, 2, 3]
    retention.sweep(now=LATER)
    assert alive(run) == [3]


def test_a_job_from_before_there_were_rules_keeps_everything() -> None:
    run = job_with(4, keep_last=1)
    job = run.job
    del job.spec["checkpoints"]
    job.save()
    assert retention.sweep(now=LATER) == retention.Swept()


def test_a_checkpoint_that_becomes_pinned_after_the_plan_was_made_stays(monkeypatch: Any) -> None:
    run = job_with(3, keep_last=1)
    plan = retention.plan

    def pinned_meanwhile(*args: Any) -> retention.Plan:
        made = plan(*args)
        Checkpoint.objects.filter(round_number=0).update(pinned=True)
        return made

    monkeypatch.setattr(retention, "plan", pinned_meanwhile)
    retention.sweep(now=LATER)
    assert alive(run) == [0, 2]
    assert checkpoints.opened(at(run, 0)).read() == pack(weights(0))


def test_a_sweep_costs_the_same_queries_however_many_jobs_there_are(django_assert_num_queries: Any) -> None:
    job_with(3, keep_last=5)
    with django_assert_num_queries(5):
        retention.sweep(now=LATER)
    for number in range(3):
        Checkpoint.objects.create(
            job=cluster.queued(f"Job {number}"),
            run=Run.objects.get(),
            round_number=0,
            path=str(number),
            size=1,
        )
    with django_assert_num_queries(5):
        retention.sweep(now=LATER)


def test_a_delta_is_smaller_and_comes_back_bit_for_bit(folder: Path) -> None:
    run = job_with(4, storage="delta")
    swept = retention.sweep(now=LATER)
    assert swept.stored == 2
    assert [at(run, number).storage for number in range(4)] == ["full", "delta", "delta", "full"]
    for number in range(4):
        row = at(run, number)
        data = checkpoints.document(row)
        assert data == pack(weights(number))
        assert sha256(data).hexdigest() == row.sha256
        assert checkpoints.opened(row).read() == data
    delta = at(run, 2)
    assert delta.base == at(run, 0)
    assert delta.size - (folder / delta.path).stat().st_size == delta.bytes_saved > 0.2 * delta.size
    assert (folder / weight_files.state_path(delta.path)).read_bytes() == b"state of round 2"


def test_the_base_of_a_delta_stays_and_goes_with_its_last_one() -> None:
    run = job_with(4, keep_last=2, keep_every=2, storage="delta")
    retention.sweep(now=LATER)
    assert at(run, 2).base == at(run, 0)
    job = run.job
    job.spec["checkpoints"]["keep_every"] = 0
    job.save()
    retention.sweep(now=LATER)
    assert alive(run) == [0, 2, 3]
    stored(run, 4)
    retention.sweep(now=LATER)
    assert alive(run) == [3, 4]


def test_float16_takes_half_and_says_so(folder: Path) -> None:
    run = job_with(3, storage="float16")
    before = at(run, 1)
    retention.sweep(now=LATER)
    row = at(run, 1)
    assert (row.storage, row.state_sha256) == ("float16", "")
    assert row.size < 0.6 * before.size
    assert row.bytes_saved == before.size - row.size + len(b"state of round 1")
    assert unpack(checkpoints.opened(row).read())["layer.weight"].dtype == np.float16
    arrays = unpack(checkpoints.document(row))
    assert arrays["layer.weight"].dtype == np.float32
    np.testing.assert_allclose(arrays["layer.weight"], weights(1)["layer.weight"], atol=2e-3)
    assert not (folder / files.state_path(before.path)).exists()
    assert at(run, 2).storage == "full"


def test_a_reader_that_holds_an_older_row_finds_the_new_file() -> None:
    run = job_with(3, storage="delta")
    old = at(run, 1)
    retention.sweep(now=LATER)
    assert old.storage == "full"
    assert checkpoints.opened(old).read() == pack(weights(1))


def test_a_file_that_is_damaged_is_left_alone_and_the_rest_is_stored(folder: Path) -> None:
    run = job_with(4, storage="delta")
    (folder / at(run, 1).path).write_bytes(b"damage" * 1000)
    retention.sweep(now=LATER)
    assert [at(run, number).storage for number in range(4)] == ["full", "full", "delta", "full"]


def test_two_sweeps_at_once_leave_the_file_that_the_row_names(folder: Path, monkeypatch: Any) -> None:
    run = job_with(3, storage="delta")
    first, base = at(run, 1), at(run, 0)
    again = at(run, 1)
    assert retention._store_delta(first, base) > 0
    (folder / again.path).write_bytes(
        pack(weights(1))
    )  # as if it had not yet been removed when the other began
    assert retention._store_delta(again, base) == 0
    assert checkpoints.opened(at(run, 1)).read() == pack(weights(1))


def test_files_that_belong_to_nobody_go_after_a_day(folder: Path) -> None:
    run = job_with(2)
    job = folder / f"job-{run.job_id:06d}"
    for name in (".run-0001-round-000009.safetensors.x1y2", "run-0009-round-000009.safetensors"):
        (job / name).write_bytes(b"left over")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "mine").write_bytes(b"not of a job")
    assert retention.sweep_forgotten() == 0
    assert retention.sweep_forgotten(timezone.now() + timedelta(days=2)) == 18
    assert len(os.listdir(job)) == 4
    assert (folder / "elsewhere" / "mine").exists()
    assert alive(run) == [0, 1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("storage", ["delta", "float16"])
def test_of_eight_sweeps_at_the_same_moment_nobody_loses_a_file(folder: Path, storage: str) -> None:
    job_with(12, keep_last=9, storage=storage)

    def sweep(_: int) -> bool:
        return retention.sweep(now=LATER).stored > 0

    assert any(race(sweep))
    rows = {row.round_number: row for row in Checkpoint.objects.filter(removed_at__isnull=True)}
    assert sorted(rows) == list(range(3, 12))
    assert {row.storage for row in rows.values()} == {"full", storage}
    for number, row in rows.items():
        arrays = unpack(checkpoints.document(row))
        np.testing.assert_allclose(arrays["layer.weight"], weights(number)["layer.weight"], atol=2e-3)
    named = {name for row in rows.values() for name in retention._files(row)}
    assert {f"{path.parent.name}/{path.name}" for path in folder.rglob("*.*") if path.is_file()} == named


def test_a_reader_never_fails_while_a_sweep_stores_anew(folder: Path) -> None:
    run = job_with(3, storage="delta")
    held = checkpoints.opened(at(run, 1))
    retention.sweep(now=LATER)
    assert held.read() == pack(weights(1))
