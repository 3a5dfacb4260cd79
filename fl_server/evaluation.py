"""The server's own use of the training code: first weights, partition sizes, central tests. Loads torch."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from django.conf import settings

from fl_client import data, devices, footprint, judging, models, partitions, weights
from fl_client.assignment import Choice, Training
from fl_client.errors import ClientError
from fl_server import kick, spec
from fl_server.exceptions import Conflict, NotFound
from fl_server.models import Checkpoint, Run
from fl_server.services import checkpoints, estimates, runs
from fl_server.services.rounds import CheckpointFile
from strategies import checkpoint as files

logger = logging.getLogger(__name__)


def warm_up() -> None:
    """Pay the libraries' start once, in the process that evaluates, before the first job waits for it."""
    torch.set_num_threads(1)
    devices.warm_up(devices.pick_device())
    partitions.sizes("iid", {}, torch.zeros(2, dtype=torch.long), 2, 0)


def prepare(run: Run) -> None:
    """Write the first weights unless the job has some, deal the rows, and have the first weights tested."""
    wanted = spec.parse(run.job.spec)
    try:
        first = run.job.checkpoints.filter(round_number=0).first() or _initial(run, wanted)
        labels = data.load(wanted.dataset.name, wanted.dataset.options, "train").labels
        rows = partitions.sizes(
            wanted.partition.scheme, wanted.partition.options, labels, run.partitions, wanted.seed
        )
    except (ClientError, NotFound, Conflict) as exc:
        runs.fail(run, exc.code, str(exc))
        return
    runs.prepared(run, rows)
    if wanted.evaluation != "off" and run.first_round == 1:
        kick.evaluate(first.pk)


def _initial(run: Run, wanted: spec.JobSpec) -> Checkpoint:
    """New weights, or those of the checkpoint that the job starts with, as a file of its own."""
    start = run.job.start_checkpoint
    if start is None:
        arrays = models.initial_weights(wanted.model.name, wanted.model.options, wanted.seed)
        data = weights.pack(arrays)
    else:
        data = checkpoints.document(start)
    path = files.model_path(run.job_id, run.number, 0)
    written = files.write(Path(settings.CHECKPOINTS_DIR) / path, data)
    return checkpoints.add_initial(run, CheckpointFile(path, written.sha256, written.size), {})


def estimate(needs: Mapping[str, Any]) -> None:
    """How much memory a kind of training takes; `needs` is what `estimates.needs_of` gave."""
    try:
        found = footprint.of(
            Choice(**needs["model"]),
            Choice(**needs["dataset"]),
            needs["partitions"],
            Training(**needs["training"]),
        )
    except ClientError as exc:
        logger.warning("not estimated: %s", exc)
        return
    estimates.learned(needs, found.total, found.parts())


def evaluate(checkpoint: Checkpoint) -> None:
    """Loss and accuracy on the test split, kept with the checkpoint and its round."""
    wanted = spec.parse(checkpoint.job.spec)
    try:
        stored = checkpoints.document(checkpoint)
    except (NotFound, Conflict) as exc:
        logger.warning("not evaluated: %s", exc)
        return
    try:
        metrics = judging.evaluate(
            wanted.model.name,
            wanted.model.options,
            weights.unpack(stored),
            wanted.dataset.name,
            wanted.dataset.options,
        )
    except ClientError as exc:
        logger.warning("%s not evaluated: %s", checkpoint, exc)
        return
    checkpoints.evaluated(checkpoint, metrics)
