"""A run's life: claimed with its devices, launched, kept alive by its ServerApp, ended, released."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from fl_server import events, kick, lifecycle
from fl_server.exceptions import Conflict
from fl_server.models import Device, Participation, Reservation, Run, TrainingJob
from fl_server.selectors import runs as selectors
from fl_server.services import jobs

Status = Run.Status

# So many runs in a row may fail without a new round before their job fails too.
MAX_ATTEMPTS = 5
# Ends that another attempt can cure; bad settings and diverged training come back the same.
RETRIED = frozenset(
    {
        "engine-stopped",
        "launch-failed",
        "launch-timeout",
        "preparation-timeout",
        "serverapp-lost",
        "too-few-replies",
    }
)
LONGEST_PAUSE = 60.0  # seconds between two runs of a job


class Superseded(Conflict):
    """This run is no longer the job's current one: it was stopped, or a newer fence took over."""

    code = "superseded"


def claim(job: TrainingJob, devices: list[tuple[Device, int]], partitions: int) -> Run:
    """Take a queued job and its devices, each with its partition; all or nothing.

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
            not_before=None,
            waiting={},
            reason_code="",
            reason="",
        )
        run.save()
        for device, partition in devices:
            Reservation.objects.create(run=run, device=device, partition=partition)
        jobs.note(
            job,
            "started",
            f"Run {number} begins with round {run.first_round} on {len(devices)} devices.",
            run=run,
        )
    return run


def prepared(run: Run, rows: list[int]) -> None:
    """The first weights are in place and the rows of each partition are known."""
    with transaction.atomic():
        for reservation in run.reservations.all():
            Reservation.objects.filter(pk=reservation.pk).update(rows=rows[reservation.partition])
        Run.objects.filter(pk=run.pk).update(prepared_at=timezone.now())
        events.tell_run(run.pk, type="prepared")


def announce(reservation: Reservation) -> None:
    """Send a reserved device its assignment. Hearing it twice does no harm."""
    device = reservation.device
    events.tell_device(device.pk, type="reserve", assignment=selectors.assignment(reservation))
    events.device_changed(device.pk, device.owner_id, presence=device.presence, job=reservation.run.job_id)


def launched(run: Run) -> bool:
    """Take the right to start the run in the engine; False when it was taken or the run ended."""
    return lifecycle.try_advance(run, Status.LAUNCHED)


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
        jobs.try_finish(
            job, TrainingJob.Status.COMPLETED, "completed", f"All {job.spec['rounds']} rounds are done."
        )


def fail(run: Run, code: str, reason: str, traceback: str = "", *, only_if: Q | None = None) -> None:
    """End a run; its job goes back to the queue where another attempt may help, else it fails too."""
    with transaction.atomic():
        if not _end(run, Status.FAILED, code, reason, traceback, only_if=only_if):
            return
        job = TrainingJob.objects.get(pk=run.job_id)
        if job.status != TrainingJob.Status.RUNNING:
            return
        failures = _failures_in_a_row(job)
        if code in RETRIED and failures < MAX_ATTEMPTS:
            pause = timedelta(seconds=min(2.0**failures, LONGEST_PAUSE))
            again = {"reason_code": code, "reason": reason, "not_before": timezone.now() + pause}
            jobs.try_move(job, TrainingJob.Status.QUEUED, code, reason, run=run, **again)
        else:
            jobs.finish(job, TrainingJob.Status.FAILED, code, reason)


def _failures_in_a_row(job: TrainingJob) -> int:
    """Failed runs since the last committed round; the one that committed it counts once it failed too."""
    last = job.rounds.order_by("-number").values_list("number", flat=True).first() or 0
    since = Q(first_round__gt=last) | Q(rounds__number=last)
    return job.runs.filter(since, status=Status.FAILED).count()


def cancel(run: Run, reason: str) -> None:
    """End the run of a job that was cancelled."""
    with transaction.atomic():
        _end(run, Status.CANCELLED, "cancelled", reason)
        events.tell_run(run.pk, type="cancel")


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


def release_device(device: Device) -> None:
    """Take a device out of whatever it is reserved for."""
    for reservation in device.reservations.filter(released_at__isnull=True).select_related("device"):
        _release(reservation)
        events.tell_run(reservation.run_id, type="gone", node=device.node_id, final=True)


def engine_stopped(run: Run) -> None:
    """The engine has forgotten the run."""
    Run.objects.filter(pk=run.pk).update(engine_stopped_at=timezone.now())
