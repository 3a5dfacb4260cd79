"""A run's life: claimed with its devices, launched, kept alive by its ServerApp, ended, released."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from fl_server import events, kick, lifecycle, spec
from fl_server.exceptions import Conflict
from fl_server.models import Device, Participation, Reservation, Run, TrainingJob
from fl_server.placement.facts import DeviceFacts
from fl_server.selectors import runs as selectors
from fl_server.services import jobs

Status = Run.Status

# Ends that another attempt can cure; bad settings and diverged training come back the same.
RETRIED = frozenset(
    {
        "database-lost",
        "disk-full",
        "engine-lost",
        "engine-stopped",
        "launch-failed",
        "launch-timeout",
        "preparation-timeout",
        "serverapp-lost",
        "too-few-replies",
    }
)
LONGEST_PAUSE = 60.0  # seconds between two runs of a job
START_SECONDS = 15.0  # that who launches a run may take to hear from the engine


class Superseded(Conflict):
    """This run is no longer the job's current one: it was stopped, or a newer fence took over."""

    code = "superseded"


def claim(
    job: TrainingJob,
    devices: Sequence[tuple[Device | DeviceFacts, int]],
    partitions: int,
    choices: Mapping[Any, dict[str, Any]] | None = None,
    expected: datetime | None = None,
) -> Run:
    """Take a queued job and its devices, each with its partition; all or nothing.

    `choices` says why each device was chosen, by its key; `expected` is when the job was to start.
    Raises Conflict when somebody else took the job, IntegrityError when somebody else took a device.
    """
    now = timezone.now()
    with transaction.atomic():
        number = job.runs.count() + 1
        last = job.rounds.order_by("-number").values_list("number", flat=True).first()
        run = Run(job=job, number=number, fence=number, first_round=(last or 0) + 1, partitions=partitions)
        lifecycle.advance(
            job,
            TrainingJob.Status.RUNNING,
            started_at=job.started_at or now,
            deadline_at=job.deadline_at or _deadline(job, now),
            not_before=None,
            waiting={},
            expected_start=None,
            reason_code="",
            reason="",
        )
        run.save()
        why = choices or {}
        Reservation.objects.bulk_create(
            Reservation(run=run, device_id=device.pk, partition=partition, choice=why.get(device.pk, {}))
            for device, partition in devices
        )
        jobs.note(
            job,
            "started",
            f"Run {number} begins with round {run.first_round} on {_devices(len(devices))}.",
            run=run,
            data=_error_of(expected, now),
        )
    return run


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _error_of(expected: datetime | None, now: datetime) -> dict[str, Any]:
    """By how many seconds the job started later than was expected when it came to wait."""
    if expected is None:
        return {"expected": None, "error_seconds": None}
    return {
        "expected": expected.isoformat(),
        "error_seconds": round((now - expected).total_seconds(), 1),
    }


def _deadline(job: TrainingJob, now: datetime) -> datetime | None:
    hours = _stopping(job).deadline_hours
    return now + timedelta(hours=hours) if hours is not None else None


def _stopping(job: TrainingJob) -> spec.Stopping:
    """By itself: the rest of the specification may name what the catalogue no longer has."""
    return spec.Stopping.model_validate(job.spec.get("stopping", {}))


def prepared(run: Run, rows: list[int]) -> None:
    """The first weights are in place and the rows of each partition are known."""
    with transaction.atomic():
        for reservation in run.reservations.all():
            Reservation.objects.filter(pk=reservation.pk).update(rows=rows[reservation.partition])
        Run.objects.filter(pk=run.pk).update(prepared_at=timezone.now(), partition_rows=rows)
        events.tell_run(run.pk, type="prepared")


def announce(reservation: Reservation) -> None:
    """Send a reserved device its assignment. Hearing it twice does no harm."""
    device = reservation.device
    events.tell_device(device.pk, type="reserve", assignment=selectors.assignment(reservation))
    events.device_changed(device.pk, device.owner_id, presence=device.presence, job=reservation.run.job_id)


def launched(run: Run) -> bool:
    """Take the right to start the run in the engine; False when it was taken or the run ended."""
    until = timezone.now() + timedelta(seconds=START_SECONDS)
    return lifecycle.try_advance(run, Status.LAUNCHED, lease_until=until)


def not_launched(run: Run) -> None:
    """Give the right back: the engine does not answer, and a later tick tries again."""
    lifecycle.try_advance(run, Status.PREPARING, only_if=Q(status=Status.LAUNCHED))


def attach_engine(run: Run, engine_run_id: int) -> None:
    Run.objects.filter(pk=run.pk).update(engine_run_id=str(engine_run_id))


def start(run: Run) -> Run:
    """Called by the ServerApp, first of all."""
    return lifecycle.advance(run, Status.RUNNING, started_at=timezone.now(), lease_until=_lease())


def extend_lease(run_id: int, fence: int) -> None:
    """Called by the ServerApp alone. Raises Superseded when the run is not its any more."""
    changed = Run.objects.filter(pk=run_id, fence=fence, status=Status.RUNNING).update(lease_until=_lease())
    if not changed:
        raise Superseded(f"Run {run_id} with fence {fence} has been stopped.")


def _lease() -> Any:
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


def complete(run: Run) -> None:
    """End a run after its last round, and its job with it unless somebody ended that otherwise."""
    with transaction.atomic():
        if not _end(run, Status.COMPLETED, "completed", "All rounds are done."):
            return
        job = run.job
        jobs.try_finish(job, TrainingJob.Status.COMPLETED, "completed", _all_done(job))


def _all_done(job: TrainingJob) -> str:
    return f"All {job.spec['rounds']} rounds are done."


def complete_early(run: Run, code: str, reason: str) -> bool:
    """End a run and its job as completed before the last round; the round under way is abandoned."""
    with transaction.atomic():
        if not _end(run, Status.COMPLETED, code, reason):
            return False
        events.tell_run(run.pk, type="cancel")
        return jobs.try_finish(run.job, TrainingJob.Status.COMPLETED, code, reason)


def fail(run: Run, code: str, reason: str, traceback: str = "", *, only_if: Q | None = None) -> None:
    """End a run; its job goes back to the queue where another attempt may help, else it fails too."""
    with transaction.atomic():
        if not _end(run, Status.FAILED, code, reason, traceback, only_if=only_if):
            return
        job = TrainingJob.objects.get(pk=run.job_id)
        if job.status != TrainingJob.Status.RUNNING:
            return
        failures, allowed = _failures_in_a_row(job), _stopping(job).attempts
        if job.rounds.count() >= job.spec["rounds"]:
            # Its process was gone before it could say that all is done.
            jobs.try_finish(job, TrainingJob.Status.COMPLETED, "completed", _all_done(job))
        elif code not in RETRIED:
            jobs.try_finish(job, TrainingJob.Status.FAILED, code, reason)
        elif failures >= allowed:
            if allowed > 1:
                count = f"This was attempt {failures} of {allowed} without a new round."
                reason = f"{reason.rstrip('. ')}. {count}"
            jobs.try_finish(job, TrainingJob.Status.FAILED, code, reason)
        elif job.pausing:
            jobs.try_move(job, TrainingJob.Status.PAUSED, "paused", reason, run=run, **_paused(reason))
        else:
            pause = timedelta(seconds=min(2.0**failures, LONGEST_PAUSE))
            again = {"reason_code": code, "reason": reason, "not_before": timezone.now() + pause}
            queue = TrainingJob.Status.QUEUED
            if not jobs.try_move(job, queue, code, reason, run=run, only_if=Q(pausing=False), **again):
                # Somebody asked for a pause since this one was read.
                jobs.try_move(job, TrainingJob.Status.PAUSED, "paused", reason, run=run, **_paused(reason))


def _failures_in_a_row(job: TrainingJob) -> int:
    """Failed runs since the last committed round; the one that committed it counts once it failed too."""
    last = job.rounds.order_by("-number").values_list("number", flat=True).first() or 0
    since = Q(first_round__gt=last) | Q(rounds__number=last)
    return job.runs.filter(since, status=Status.FAILED).count()


def cancel(run: Run, reason: str, code: str = "cancelled") -> bool:
    """End a run whose job is not to go on."""
    with transaction.atomic():
        ended = _end(run, Status.CANCELLED, code, reason)
        events.tell_run(run.pk, type="cancel")
    return ended


def pause(run: Run, reason: str, *, by: Any = None) -> bool:
    """End a run and pause its job; False when either ended otherwise meanwhile."""
    with transaction.atomic():
        if not cancel(run, reason, "paused"):
            return False
        to = TrainingJob.Status.PAUSED
        return jobs.try_move(run.job, to, "paused", reason, by=by, run=run, **_paused(reason))


def _paused(reason: str) -> dict[str, Any]:
    return {"reason_code": "paused", "reason": reason, "waiting": {}, "pausing": False}


def _end(run: Run, to: str, code: str, reason: str, traceback: str = "", *, only_if: Q | None = None) -> bool:
    now = timezone.now()
    facts = {"reason_code": code, "reason": reason, "traceback": traceback, "finished_at": now}
    if not lifecycle.try_advance(run, to, only_if=only_if, lease_until=None, **facts):
        return False
    open_ones = Participation.objects.filter(run=run, status__in=Participation.ACTIVE)
    open_ones.update(
        status=Participation.Status.LOST, reason_code="run-ended", reason=reason, finished_at=now
    )
    for reservation in run.reservations.filter(released_at__isnull=True).select_related("device"):
        _release(reservation)
    kick.tick()
    return True


def _release(reservation: Reservation) -> None:
    Reservation.objects.filter(pk=reservation.pk, released_at__isnull=True).update(released_at=timezone.now())
    device = reservation.device
    events.tell_device(device.pk, type="release", run=reservation.run_id)
    events.device_changed(device.pk, device.owner_id, presence=device.presence)


def release_device(device: Device, run: Run | None = None) -> None:
    """Take a device out of whatever it is reserved for, or only out of that run."""
    held = device.reservations.filter(released_at__isnull=True, **({"run": run} if run else {}))
    for reservation in held.select_related("device"):
        _release(reservation)
        events.tell_run(reservation.run_id, type="gone", node=device.node_id, final=True)


def engine_stopped(run: Run) -> None:
    """The engine has forgotten the run."""
    Run.objects.filter(pk=run.pk).update(engine_stopped_at=timezone.now())
