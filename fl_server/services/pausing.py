"""Pausing a job and letting it go on. A paused job holds no device; it goes on after its last round."""

from typing import Any

from django.db import transaction

from fl_server import kick
from fl_server.exceptions import Conflict
from fl_server.models import Run, TrainingJob
from fl_server.services import audit, jobs, runs

Status = TrainingJob.Status


def pause(job: TrainingJob, by: Any, *, now: bool = False) -> TrainingJob:
    """Pause after the round under way; with `now`, or where no round is under way, at once.

    At once, the work of the round under way is lost.
    """
    jobs.check_may_change(job, by)
    reason = f"Paused by {by.get_username()}."
    with transaction.atomic():
        run = Run.objects.filter(job=job, status__in=Run.ACTIVE).first()
        if run and run.status == Run.Status.RUNNING and not now:
            _pause_after_the_round(job, by, run)
        elif run:
            run.job = job
            if not runs.pause(run, reason, by=by):
                raise Conflict(f"{job} has just ended its run; look again.")
        else:
            why: dict[str, Any] = {"reason_code": "paused", "reason": reason, "waiting": {}}
            jobs.move(job, Status.PAUSED, "paused", reason, by=by, only_from=Status.QUEUED, **why)
        audit.record(by, "job.pause", f"job:{job.pk}", now=now)
        kick.tick()
    return job


def _pause_after_the_round(job: TrainingJob, by: Any, run: Run) -> None:
    asked = TrainingJob.objects.filter(pk=job.pk, status=Status.RUNNING, pausing=False).update(pausing=True)
    if not asked:
        raise Conflict(f"{job} pauses already, or does not run any more.")
    job.pausing = True
    jobs.note(job, "pausing", "Pauses once the round under way is finished.", by=by, run=run)


def resume(job: TrainingJob, by: Any) -> TrainingJob:
    """Back into the queue; a job that has not come to its pause yet simply goes on."""
    jobs.check_may_change(job, by)
    with transaction.atomic():
        running = TrainingJob.objects.filter(pk=job.pk, status=Status.RUNNING, pausing=True)
        if running.update(pausing=False):
            job.pausing = False
            jobs.note(job, "resumed", "Goes on without a pause.", by=by)
        else:
            why: dict[str, Any] = {"reason_code": "", "reason": "", "pausing": False}
            only, said = Status.PAUSED, "Resumed; waits for devices."
            jobs.move(job, Status.QUEUED, "resumed", said, by=by, only_from=only, **why)
        audit.record(by, "job.resume", f"job:{job.pk}")
        kick.tick()
    return job
