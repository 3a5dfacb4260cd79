"""What the tick checks of every active run. Each step is safe to repeat."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from fl_server.models import Checkpoint, Device, Reservation, Round, Run, TrainingJob
from fl_server.platform import engine, exits
from fl_server.services import jobs, runs

Status = Run.Status

# A message that had no effect for so long is taken for lost and sent again.
PATIENCE = timedelta(seconds=10)
LAUNCH_PATIENCE = timedelta(seconds=2)
REPEATED_AT_ONCE = 5


def anything_runs() -> bool:
    """One question, so that a tick of an idle platform asks no other about runs."""
    return Run.objects.filter(status__in=Run.ACTIVE).exists()


def check_runs() -> None:
    _launch_again()
    _end_cancelled()
    _end_exited()
    _end_lost()
    _end_unlaunched()


def end_overdue() -> None:
    """Jobs past their deadline, paused ones too. Their runs end with the next step."""
    unfinished = (*TrainingJob.ACTIVE, TrainingJob.Status.PAUSED)
    for job in TrainingJob.objects.filter(status__in=unfinished, deadline_at__lt=timezone.now()):
        hours = job.spec["stopping"]["deadline_hours"]
        reason = f"It was not done {hours:g} hours after its first start."
        jobs.try_finish(job, TrainingJob.Status.FAILED, "deadline", reason)


def _end_cancelled() -> None:
    """Runs of jobs that are not to go on."""
    over = (*TrainingJob.TERMINAL, TrainingJob.Status.PAUSED)
    for run in Run.objects.filter(status__in=Run.ACTIVE, job__status__in=over).select_related("job"):
        runs.cancel(run, run.job.reason, run.job.reason_code)


def _launch_again() -> None:
    """Who was to start them never heard from the engine, or is gone itself."""
    lapsed = Q(status=Status.LAUNCHED, engine_run_id="", lease_until__lt=timezone.now())
    for run in Run.objects.filter(lapsed):
        runs.not_launched(run)


def _end_exited() -> None:
    """Those whose process is known to be gone: neither its lease nor the engine's patience is waited for."""
    home = engine.folder()
    begun = Q(status__in=[Status.LAUNCHED, Status.RUNNING])
    for run in Run.objects.filter(begun).exclude(engine_run_id=""):
        if not exits.noted(home, run.engine_run_id):
            continue
        if run.status == Status.LAUNCHED:
            code, reason = "engine-stopped", "The process that should lead the run ended before it began."
        else:
            code, reason = "serverapp-lost", "The process that led the run ended before its last round."
        # Asked again in the UPDATE: it may have written its end a moment before it was gone.
        runs.fail(run, code, reason, only_if=begun)


def _end_lost() -> None:
    # Asked again in the UPDATE: a lease that was extended a moment ago is good.
    lapsed = Q(status=Status.RUNNING, lease_until__lt=timezone.now())
    for run in Run.objects.filter(lapsed):
        runs.fail(
            run,
            "serverapp-lost",
            f"The process that led the run gave no sign of life for {settings.LEASE_SECONDS:.0f} s.",
            only_if=lapsed,
        )


def _end_unlaunched() -> None:
    patience = timezone.now() - timedelta(seconds=settings.LAUNCH_SECONDS)
    overdue = Q(status__in=[Status.PREPARING, Status.LAUNCHED], created_at__lt=patience)
    for run in Run.objects.filter(overdue):
        runs.fail(
            run,
            "launch-timeout",
            f"The run did not start within {settings.LAUNCH_SECONDS:.0f} s.",
            only_if=overdue,
        )


def unstopped() -> QuerySet[Run]:
    """Ended runs that the engine has not been told about."""
    return Run.objects.filter(status__in=Run.TERMINAL, engine_stopped_at__isnull=True).exclude(
        engine_run_id=""
    )


def unregistered() -> QuerySet[Device]:
    """Approved devices that the engine does not know yet."""
    return Device.objects.filter(status=Device.Status.APPROVED, node_id="")


def still_registered() -> QuerySet[Device]:
    """Revoked devices that the engine still lets in."""
    revoked = Device.objects.filter(status=Device.Status.REVOKED, node_unregistered_at__isnull=True)
    return revoked.exclude(node_id="")


def engine_is_behind() -> bool:
    return unregistered().exists() or still_registered().exists() or unstopped().exists()


def unprepared() -> QuerySet[Run]:
    """Runs whose preparation was perhaps lost on its way through the queue."""
    return Run.objects.filter(status__in=Run.ACTIVE, prepared_at__isnull=True, created_at__lt=_while_ago())


def unlaunched() -> QuerySet[Run]:
    """Runs whose launch was perhaps lost on its way through the queue, or met an engine that was away."""
    return Run.objects.filter(status=Status.PREPARING, created_at__lt=timezone.now() - LAUNCH_PATIENCE)


def unled() -> QuerySet[Run]:
    """Runs that the engine has started and whose process has not said anything yet."""
    return Run.objects.filter(status=Status.LAUNCHED).exclude(engine_run_id="")


def unready() -> QuerySet[Reservation]:
    """Devices that perhaps never heard of their reservation."""
    waiting = Reservation.objects.filter(
        run__status__in=Run.ACTIVE, released_at__isnull=True, ready_at__isnull=True, problem=""
    )
    return waiting.filter(reserved_at__lt=_while_ago()).select_related("device", "run__job__owner")


def unevaluated() -> list[Checkpoint]:
    """Checkpoints whose evaluation was perhaps lost on its way through the queue, the oldest first.

    Those that were passed over while other jobs needed the evaluator get their turn again, too.
    """
    last = Round.objects.filter(job=OuterRef("job")).order_by("-number").values("number")[:1]
    recent = timezone.now() - timedelta(hours=1)
    completed = Q(job__status=TrainingJob.Status.COMPLETED, job__finished_at__gt=recent)
    every_round = Q(job__spec__evaluation="every-round") & (
        completed | Q(job__status=TrainingJob.Status.RUNNING)
    )
    last_round = Q(job__spec__evaluation="last-round", number=Subquery(last)) & completed
    missing = Round.objects.filter(every_round | last_round, evaluation={}, finished_at__lt=_while_ago())
    newest = missing.filter(number=Subquery(last))
    crowded = Run.objects.filter(status__in=Run.ACTIVE).exclude(job=OuterRef("job"))
    wanted = missing.filter(~Exists(crowded) | Q(pk__in=newest.values("pk")))
    there = Checkpoint.objects.filter(job=OuterRef("job"), round_number=OuterRef("number"), removed_at=None)
    found = wanted.filter(Exists(there)).order_by("finished_at")[:REPEATED_AT_ONCE]
    return [Checkpoint.objects.get(job=row.job_id, round_number=row.number) for row in found]


def _while_ago() -> datetime:
    return timezone.now() - PATIENCE
