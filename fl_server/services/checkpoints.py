"""Checkpoint rows, their files, and which one is best."""

import math
from pathlib import Path

from django.conf import settings
from django.db import transaction

from fl_server import events
from fl_server.exceptions import NotFound
from fl_server.models import Checkpoint, Round, Run, TrainingJob
from fl_server.services.rounds import CheckpointFile


def file_path(checkpoint: Checkpoint) -> Path:
    """The file of a checkpoint; raises NotFound when it is no longer there."""
    root = Path(settings.CHECKPOINTS_DIR).resolve()
    path = (root / checkpoint.path).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise NotFound(
            f"The file of {checkpoint} is no longer on the server.", code="checkpoint-file-missing"
        )
    return path


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
        Checkpoint.objects.filter(pk=checkpoint.pk).update(metrics={**checkpoint.metrics, **metrics})
        Round.objects.filter(job_id=checkpoint.job_id, number=checkpoint.round_number).update(
            evaluation=metrics
        )
        mark_best(TrainingJob.objects.get(pk=checkpoint.job_id))
        events.round_evaluated(checkpoint.job_id, checkpoint.round_number, metrics)


def mark_best(job: TrainingJob) -> None:
    """The checkpoint with the best value of the job's metric, in the direction that the job declares."""
    metric = job.spec["metric"]
    known = [c for c in job.checkpoints.all() if metric["name"] in c.metrics]
    if not known:
        return
    pick = max if metric["direction"] == "maximize" else min
    best = pick(known, key=lambda c: c.metrics[metric["name"]])
    TrainingJob.objects.filter(pk=job.pk).update(best_checkpoint=best)
