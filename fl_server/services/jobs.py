"""What people do with jobs."""

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from fl_server import events, kick, lifecycle, roles, spec
from fl_server.exceptions import Conflict, InvalidInput, NotAllowed
from fl_server.models import JobEvent, Run, TrainingJob
from fl_server.services import audit, estimates, notifications, starting

Status = TrainingJob.Status
FURTHEST_START = timedelta(days=366)


def create(
    owner: Any,
    name: str,
    spec_data: Any,
    *,
    submit: bool = False,
    start_at: datetime | None = None,
    idempotency_key: str | None = None,
    **origin: Any,
) -> TrainingJob:
    """Store a job as a draft, or queue it at once. The same key of the same owner gives the same job.

    `origin` says where it comes from: cloned_from, start_checkpoint, schedule.
    """
    if not roles.may_submit(owner):
        raise NotAllowed("Only researchers and admins create jobs.")
    name = name.strip()
    if not 1 <= len(name) <= 120:
        raise InvalidInput(f"name has {len(name)} characters; allowed are 1 to 120.", field="name")
    parsed = spec.parse(spec_data)
    starting.check(parsed, origin.get("start_checkpoint"))
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
                **origin,
            )
            audit.record(owner, "job.create", f"job:{job.pk}", name=name)
            if submit:
                _queue(job, owner, start_at)
    except IntegrityError:
        known = _by_key(owner, idempotency_key or "")
        if known is None:
            raise
        return known
    return job


def _by_key(owner: Any, key: str) -> TrainingJob | None:
    return TrainingJob.objects.filter(owner=owner, idempotency_key=key).first()


def submit(job: TrainingJob, by: Any, *, start_at: datetime | None = None) -> TrainingJob:
    """Queue a draft, to start at once or not before a time."""
    check_may_change(job, by)
    with transaction.atomic():
        _queue(job, by, start_at)
    return job


def _queue(job: TrainingJob, by: Any, start_at: datetime | None = None) -> None:
    now = timezone.now()
    job.not_before = _start(start_at, now)
    fields = {"submitted_at": now, "not_before": job.not_before, **estimates.at_submission(job, now)}
    sentence = "Waits for devices."
    if job.not_before:
        sentence = f"Starts on {job.not_before:%d %B %Y at %H:%M %Z} at the earliest."
    move(job, Status.QUEUED, "submitted", sentence, by=by, only_from=Status.DRAFT, **fields)
    audit.record(by, "job.submit", f"job:{job.pk}")
    kick.tick()


def _start(start_at: datetime | None, now: datetime) -> datetime | None:
    if start_at is None or start_at <= now:
        return None
    if start_at - now > FURTHEST_START:
        raise InvalidInput(
            f"start_at is {start_at.isoformat()}; it may be at most {FURTHEST_START.days} days ahead.",
            field="start_at",
        )
    return start_at


def cancel(job: TrainingJob, by: Any) -> TrainingJob:
    """End a job now. Its run, if any, is stopped by the next tick and its devices are free again."""
    check_may_change(job, by)
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
    return {
        "reason_code": code,
        "reason": reason,
        "finished_at": now,
        "waiting": {},
        "pausing": False,
        "expected_start": None,
        "expected_end": None,
    }


def move(
    job: TrainingJob,
    to: str,
    code: str,
    sentence: str,
    *,
    by: Any = None,
    run: Run | None = None,
    only_from: str = "",
    **fields: Any,
) -> None:
    """The only way a job's status changes: with a row in its history, and told to whoever looks.

    Raises Conflict when somebody else moved it first, or from another status than `only_from`. `fields`
    change in the same UPDATE.
    """
    with transaction.atomic():
        only_if = Q(status=only_from) if only_from else None
        if not lifecycle.try_advance(job, to, only_if=only_if, **fields):
            raise _conflict(job, to, only_from)
        note(job, code, sentence, by=by, run=run)


def _conflict(job: TrainingJob, to: str, only_from: str) -> Conflict:
    job.refresh_from_db(fields=["status"])
    sources = [only_from] if only_from else lifecycle.sources(TrainingJob, to)
    return Conflict(f"{job} is {job.status} and cannot become {to}; only {', '.join(sources)} jobs can.")


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


def note(
    job: TrainingJob,
    code: str,
    sentence: str,
    *,
    by: Any = None,
    run: Run | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Add a row to the job's history and tell whoever looks at the job."""
    JobEvent.objects.create(
        job=job, status=job.status, code=code, sentence=sentence, actor=by, run=run, data=data or {}
    )
    facts = {"status": job.status, "reason_code": job.reason_code, "reason": job.reason}
    events.job_changed(job.pk, **facts, **({"run": run.pk} if run else {}))
    notifications.job_moved(job)


def explain_waiting(job: TrainingJob, waiting: dict[str, Any]) -> None:
    """Say why a queued job has not started: needed, fit, and one reason for each device that does not fit."""
    if job.waiting == waiting:
        return
    if TrainingJob.objects.filter(pk=job.pk, status=Status.QUEUED).update(waiting=waiting):
        job.waiting = waiting
        events.job_changed(job.pk, status=job.status, waiting=waiting)


def check_may_change(job: TrainingJob, by: Any) -> None:
    """Raises NotAllowed."""
    if not (roles.is_admin(by) or (job.owner_id == by.pk and roles.may_submit(by))):
        raise NotAllowed("Only the job's owner or an admin may do this.")
