"""The queue: since when each job waits, and how long its rounds take."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Max

from fl_server.models import JobEvent, Round, TrainingJob
from fl_server.placement.queue import Move, Turn, turn

Status = TrainingJob.Status
# As many of the newest jobs are looked at for one with the same model and dataset.
LOOKED_AT = 50


@dataclass(frozen=True)
class Pace:
    """Of a job's rounds: how many are done, how long one takes, when the last one ended."""

    done: int = 0
    seconds: float | None = None
    last: datetime | None = None

    def left(self, rounds: int, deadline_hours: float | None = None) -> float | None:
        """Seconds for the rounds that are left, at most those up to a deadline that begins with the job."""
        if self.seconds is None:
            return None
        seconds = max(0, rounds - self.done) * self.seconds
        return seconds if deadline_hours is None else min(seconds, deadline_hours * 3600)


def active() -> list[TrainingJob]:
    """Every job that waits or runs."""
    return list(TrainingJob.objects.filter(status__in=TrainingJob.ACTIVE).order_by("submitted_at", "pk"))


def turns(jobs: Iterable[TrainingJob]) -> dict[int, Turn]:
    histories: dict[int, list[Move]] = {job.pk: [] for job in jobs}
    rows = JobEvent.objects.filter(job__in=histories).order_by("id")
    for job, status, at, run in rows.values_list("job_id", "status", "at", "run_id"):
        histories[job].append(Move(status, at, run is not None))
    return {
        job.pk: turn(job.submitted_at or job.created_at, job.not_before, histories[job.pk]) for job in jobs
    }


def paces(jobs: Collection[TrainingJob]) -> dict[int, Pace]:
    """From each job's own rounds; before its first one the time is that of a similar job, if there is one."""
    found = _measured([job.pk for job in jobs])
    unknown = [job for job in jobs if job.pk not in found]
    if unknown:
        similar = similar_seconds()
        found |= {job.pk: Pace(seconds=similar.get(likeness(job.spec))) for job in unknown}
    return found


def likeness(spec: dict[str, Any]) -> tuple[Any, Any]:
    """Jobs that agree in this take about as long for a round."""
    return spec.get("model", {}).get("name"), spec.get("dataset", {}).get("name")


def similar_seconds() -> dict[tuple[Any, Any], float]:
    """Seconds a round, of the newest job of each model and dataset that has rounds."""
    newest = TrainingJob.objects.filter(started_at__isnull=False).order_by("-pk")
    rows = list(newest.values_list("pk", "spec__model__name", "spec__dataset__name")[:LOOKED_AT])
    known = _measured([pk for pk, _, _ in rows])
    found: dict[tuple[Any, Any], float] = {}
    for pk, model, dataset in rows:
        pace = known.get(pk)
        if pace and pace.seconds is not None:
            found.setdefault((model, dataset), pace.seconds)
    return found


def _measured(ids: Collection[int]) -> dict[int, Pace]:
    taken = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
    rows = Round.objects.filter(job__in=ids).order_by().values("job_id")
    rows = rows.annotate(done=Max("number"), taken=Avg(taken), last=Max("finished_at"), n=Count("pk"))
    return {
        job: Pace(done, taken / timedelta(seconds=1), last)
        for job, done, taken, last in rows.values_list("job_id", "done", "taken", "last")
    }
