"""What people do with jobs."""

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from fl_server import events, kick, lifecycle, roles, spec
from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.models import JobEvent, Run, TrainingJob
from fl_server.services import audit

Status = TrainingJob.Status


def create(
    owner: Any, name: str, spec_data: Any, *, submit: bool = False, idempotency_key: str | None = None
) -> TrainingJob:
    """Store a job as a draft, or queue it at once. The same key of the same owner gives the same job."""
    if not roles.may_submit(owner):
        raise NotAllowed("Only researchers and admins create jobs.")
    name = name.strip()
    if not 1 <= len(name) <= 120:
        raise InvalidInput(f"name has {len(name)} characters; allowed are 1 to 120.", field="name")
    parsed = spec.parse(spec_data)
    if idempotency_key and (known := _by_key(owner, idempotency_key)):
        return known
    try:
        with transaction.atomic():
            job = TrainingJob.objects.create(
                owner=owner,
                name=name,
                spec=parsed.model_dump(mode="json"),
                priority=parsed.priority,
                idempotency_key=idempotency_key or None,
            )
            audit.record(owner, "job.create", f"job:{job.pk}", name=name)
            if submit:
                _queue(job, owner)
    except IntegrityError:
        known = _by_key(owner, idempotency_key or "")
        if known is None:
            raise
        return known
    return job


def _by_key(owner: Any, key: str) -> TrainingJob | None:
    return TrainingJob.objects.filter(owner=owner, idempotency_key=key).first()


def submit(job: TrainingJob, by: Any) -> TrainingJob:
    """Queue a draft."""
    _check_may_change(job, by)
    with transaction.atomic():
        _queue(job, by)
    return job


def _queue(job: TrainingJob, by: Any) -> None:
    move(job, Status.QUEUED, "submitted", "Waits for devices.", by=by, submitted_at=timezone.now())
    audit.record(by, "job.submit", f"job:{job.pk}")
    kick.tick()


def cancel(job: TrainingJob, by: Any) -> TrainingJob:
    """End a job now. Its run, if any, is stopped by the next tick and its devices are free again."""
    _check_may_change(job, by)
    with transaction.atomic():
        finish(job, Status.CANCELLED, "cancelled", f"Cancelled by {by.get_username()}.", by=by)
        audit.record(by, "job.cancel", f"job:{job.pk}")
        kick.tick()
    return job


def finish(job: TrainingJob, to: str, code: str, reason: str, *, by: Any = None) -> TrainingJob:
    """Move a job to a terminal status with the reason why."""
    move(job, to, code, reason, by=by, **_ended(code, reason))
    return job


def try_finish(job: TrainingJob, to: str, code: str, reason: str) -> bool:
    """Like `finish`, but False when somebody else ended the job first."""
    return try_move(job, to, code, reason, **_ended(code, reason))


def _ended(code: str, reason: str) -> dict[str, Any]:
    now = timezone.now()
    return {"reason_code": code, "reason": reason, "finished_at": now, "waiting": {}, "pausing": False}


def move(
    job: TrainingJob,
    to: str,
    code: str,
    sentence: str,
    *,
    by: Any = None,
    run: Run | None = None,
    **fields: Any,
) -> None:
    """The only way a job's status changes: with a row in its history, and told to whoever looks.

    Raises Conflict when somebody else moved it first. `fields` change in the same UPDATE.
    """
    with transaction.atomic():
        lifecycle.advance(job, to, **fields)
        note(job, code, sentence, by=by, run=run)


def try_move(
    job: TrainingJob,
    to: str,
    code: str,
    sentence: str,
    *,
    by: Any = None,
    run: Run | None = None,
    **fields: Any,
) -> bool:
    """Like `move`, but losing is False."""
    with transaction.atomic():
        if not lifecycle.try_advance(job, to, **fields):
            return False
        note(job, code, sentence, by=by, run=run)
    return True


def note(job: TrainingJob, code: str, sentence: str, *, by: Any = None, run: Run | None = None) -> None:
    """Add a row to the job's history and tell whoever looks at the job."""
    JobEvent.objects.create(job=job, status=job.status, code=code, sentence=sentence, actor=by, run=run)
    facts = {"status": job.status, "reason_code": job.reason_code, "reason": job.reason}
    events.job_changed(job.pk, **facts, **({"run": run.pk} if run else {}))


def explain_waiting(job: TrainingJob, waiting: dict[str, Any]) -> None:
    """Say why a queued job has not started: needed, fit, and one reason for each device that does not fit."""
    if job.waiting == waiting:
        return
    if TrainingJob.objects.filter(pk=job.pk, status=Status.QUEUED).update(waiting=waiting):
        job.waiting = waiting
        events.job_changed(job.pk, status=job.status, waiting=waiting)


def _check_may_change(job: TrainingJob, by: Any) -> None:
    if not (roles.is_admin(by) or (job.owner_id == by.pk and roles.may_submit(by))):
        raise NotAllowed("Only the job's owner or an admin may do this.")
