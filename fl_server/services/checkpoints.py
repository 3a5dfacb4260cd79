"""Checkpoint rows, how their files are read, which one is best, which ones people pin and compare.

Everything that reads a model goes through `opened`, however it is stored. Which files stay is `retention`'s.
"""

import math
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from fl_server import events
from fl_server.exceptions import Conflict, NotAllowed, NotFound
from fl_server.models import Checkpoint, Round, Run, TrainingJob
from fl_server.selectors import board
from fl_server.services import audit, stopping
from fl_server.services.rounds import CheckpointFile

if TYPE_CHECKING:
    from fl_server.weight_files import Distance

Storage = Checkpoint.Storage


def file_path(checkpoint: Checkpoint) -> Path:
    """The file of a checkpoint; raises NotFound when it is no longer there."""
    if checkpoint.removed_at:
        raise NotFound(
            f"The file of {checkpoint} was removed on {checkpoint.removed_at:%d %B %Y} by the job's rule for "
            f"checkpoints.",
            code="checkpoint-removed",
        )
    root = Path(settings.CHECKPOINTS_DIR).resolve()
    path = (root / checkpoint.path).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise NotFound(
            f"The file of {checkpoint} is no longer on the server.", code="checkpoint-file-missing"
        )
    return path


def opened(checkpoint: Checkpoint) -> IO[bytes]:
    """The model as a safetensors file: a delta is restored, float16 stays float16.

    Raises NotFound when the file is gone, Conflict when it is damaged.
    """
    before = checkpoint.path
    try:
        return _opened(checkpoint)
    except NotFound:
        # Perhaps it is stored in another way since the row was read.
        checkpoint.refresh_from_db(fields=["path", "storage", "sha256", "size", "base", "removed_at"])
        if checkpoint.path == before:
            raise
        return _opened(checkpoint)


def _opened(checkpoint: Checkpoint) -> IO[bytes]:
    path = file_path(checkpoint)
    if checkpoint.storage != Storage.DELTA:
        return _open(path, checkpoint)
    from fl_server import weight_files

    if checkpoint.base is None:
        raise NotFound(f"{checkpoint} has lost what it is built on.", code="checkpoint-file-missing")
    base = file_path(checkpoint.base)
    try:
        return weight_files.restored(base, path, checkpoint.sha256)
    except (weight_files.Damaged, FileNotFoundError) as exc:
        raise _damaged(checkpoint, exc) from exc


def _open(path: Path, checkpoint: Checkpoint) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError as exc:
        raise NotFound(
            f"The file of {checkpoint} is no longer on the server.", code="checkpoint-file-missing"
        ) from exc


def _damaged(checkpoint: Checkpoint, exc: Exception) -> Conflict:
    return Conflict(f"The file of {checkpoint} is damaged: {exc}.", code="checkpoint-damaged")


def document(checkpoint: Checkpoint) -> bytes:
    """The model to compute with, checked, in the types that it was trained in."""
    from fl_server import weight_files

    with opened(checkpoint) as file:
        try:
            if checkpoint.storage != Storage.DELTA:  # which was checked while it was restored
                weight_files.check(file, checkpoint.sha256, Path(checkpoint.path).name)
            return weight_files.document(file, checkpoint.storage)
        except weight_files.Damaged as exc:
            raise _damaged(checkpoint, exc) from exc


def compare(first: Checkpoint, second: Checkpoint) -> "Distance":
    """How far the second one's weights lie from the first one's."""
    from fl_server import weight_files

    with opened(first) as one, opened(second) as other:
        try:
            return weight_files.compare(one, other)
        except weight_files.LayoutsDiffer as exc:
            raise Conflict(
                f"{first} and {second} are of different models: {exc}.", code="layouts-differ"
            ) from exc
        except weight_files.Damaged as exc:
            raise Conflict(f"A file is damaged: {exc}.", code="checkpoint-damaged") from exc


def pin(checkpoint: Checkpoint, by: Any) -> Checkpoint:
    """Keep its file until it is unpinned, whatever the job's rule says."""
    return _set_pinned(checkpoint, by, pinned=True)


def unpin(checkpoint: Checkpoint, by: Any) -> Checkpoint:
    return _set_pinned(checkpoint, by, pinned=False)


def _set_pinned(checkpoint: Checkpoint, by: Any, *, pinned: bool) -> Checkpoint:
    if not board.may_change(checkpoint.job, by):
        raise NotAllowed("Only the job's owner or an admin may do this.")
    with transaction.atomic():
        lock(checkpoint.job_id)
        mine = Checkpoint.objects.filter(pk=checkpoint.pk, removed_at__isnull=True)
        if mine.filter(pinned=not pinned).update(pinned=pinned):
            audit.record(
                by,
                "checkpoint.pin" if pinned else "checkpoint.unpin",
                f"job:{checkpoint.job_id}",
                checkpoint=checkpoint.pk,
                round=checkpoint.round_number,
            )
            events.job_changed(checkpoint.job_id, checkpoint=checkpoint.pk, pinned=pinned)
        elif not mine.exists():
            raise Conflict(f"The file of {checkpoint} was removed already.", code="checkpoint-removed")
        checkpoint.pinned = pinned
    return checkpoint


def lock(job_id: int) -> TrainingJob:
    """Which checkpoint is best, pinned or removed is decided by one at a time."""
    return TrainingJob.objects.select_for_update(no_key=True).get(pk=job_id)


def add_initial(run: Run, file: CheckpointFile, metrics: dict[str, float]) -> Checkpoint:
    """Round 0: the weights before any training. The first call of a job wins."""
    checkpoint, _ = Checkpoint.objects.get_or_create(
        job_id=run.job_id,
        round_number=0,
        defaults={
            "run": run,
            "path": file.path,
            "sha256": file.sha256,
            "size": file.size,
            "metrics": metrics,
        },
    )
    return checkpoint


def evaluated(checkpoint: Checkpoint, metrics: dict[str, float]) -> None:
    """Keep the server's evaluation of a checkpoint and find the job's best one anew."""
    # A model that diverged has a loss that is no number, which no database keeps as JSON.
    metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
    with transaction.atomic():
        job = lock(checkpoint.job_id)
        Checkpoint.objects.filter(pk=checkpoint.pk).update(metrics={**checkpoint.metrics, **metrics})
        Round.objects.filter(job_id=checkpoint.job_id, number=checkpoint.round_number).update(
            evaluation=metrics
        )
        mark_best(job)
        events.round_evaluated(checkpoint.job_id, checkpoint.round_number, metrics)
    # By itself: whoever ends a run holds it first and its job after that, never the other way round.
    stopping.consider(checkpoint.job_id, checkpoint.round_number)


def mark_best(job: TrainingJob) -> None:
    """The checkpoint with the best value of the job's metric, in the direction that the job declares."""
    metric = job.spec["metric"]
    known = [c for c in job.checkpoints.filter(removed_at=None) if metric["name"] in c.metrics]
    if not known:
        return
    pick = max if metric["direction"] == "maximize" else min
    best = pick(known, key=lambda c: c.metrics[metric["name"]])
    TrainingJob.objects.filter(pk=job.pk).update(best_checkpoint=best)
