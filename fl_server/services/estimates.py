"""The memory that a job's training takes on a device: measured once for each kind of training, then known."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from fl_server import kick, spec
from fl_server.exceptions import InvalidSpec
from fl_server.models import MemoryEstimate, TrainingJob

# Another way of estimating makes other keys: what was estimated the old way is not found any more.
METHOD = 1
# A queued job waits no longer for its estimate.
PATIENCE = timedelta(seconds=30)
GB = 1e9
WAITS = "Its memory is being estimated, which takes seconds; after half a minute it starts without."


def needs_of(wanted: spec.JobSpec) -> dict[str, Any]:
    """All that the estimate depends on, and nothing else: jobs that differ otherwise share it."""
    training = wanted.training
    return {
        "model": wanted.model.model_dump(mode="json"),
        "dataset": wanted.dataset.model_dump(mode="json"),
        "partitions": wanted.partition.count or wanted.participation.selected,
        "training": {
            "batch_size": training.batch_size,
            "optimizer": training.optimizer,
            "momentum": training.momentum,
            "precision": training.precision,
        },
    }


def key_of(wanted: spec.JobSpec) -> str:
    return key_for(needs_of(wanted))


def key_for(needs: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([METHOD, needs], sort_keys=True).encode()).hexdigest()


def known(wanted: spec.JobSpec) -> int | None:
    """Bytes: as the specification says itself, else as estimated; None while nobody knows."""
    if wanted.requirements.memory_gb is not None:
        return int(wanted.requirements.memory_gb * GB)
    found = MemoryEstimate.objects.filter(key=key_of(wanted)).values_list("total_bytes", flat=True).first()
    return None if found is None else int(found)


def is_known(needs: Mapping[str, Any]) -> bool:
    return MemoryEstimate.objects.filter(key=key_for(needs)).exists()


def ask(wanted: spec.JobSpec) -> None:
    """Have it estimated; who asks for the same twice gets one estimate."""
    kick.estimate(needs_of(wanted))


def look_up(wanted: spec.JobSpec) -> int | None:
    """What is known; what is not is estimated, and known a few seconds later."""
    memory = known(wanted)
    if memory is None:
        ask(wanted)
    return memory


def at_submission(job: TrainingJob, now: datetime) -> dict[str, Any]:
    """What becomes known when a job is submitted, or begins to be waited for: fields for its row."""
    try:
        wanted = spec.parse(job.spec)
    except InvalidSpec:  # who claims it will say so
        return {}
    if (memory := look_up(wanted)) is not None:
        return {"memory_bytes": memory}
    due = now + PATIENCE
    if job.not_before is not None and job.not_before >= due:
        return {}
    return {"not_before": due, "waiting": {"sentence": WAITS}}


def held() -> QuerySet[TrainingJob]:
    """Queued jobs that wait for their estimate, and for nothing else."""
    return TrainingJob.objects.filter(
        status=TrainingJob.Status.QUEUED, memory_bytes=None, not_before=F("submitted_at") + PATIENCE
    )


def learned(needs: Mapping[str, Any], total: int, parts: Mapping[str, int]) -> None:
    """Keep an estimate and let the jobs start that waited for it."""
    key = key_for(needs)
    with transaction.atomic():
        MemoryEstimate.objects.update_or_create(
            key=key, defaults={"total_bytes": total, "parts": dict(parts)}
        )
        unknown = TrainingJob.objects.filter(status=TrainingJob.Status.QUEUED, memory_bytes=None)
        mine = [job.pk for job in unknown if _key_of(job) == key]
        held().filter(pk__in=mine).update(not_before=None)
        if TrainingJob.objects.filter(pk__in=mine, memory_bytes=None).update(memory_bytes=total):
            kick.tick()


def _key_of(job: TrainingJob) -> str:
    try:
        return key_of(spec.parse(job.spec))
    except InvalidSpec:
        return ""
