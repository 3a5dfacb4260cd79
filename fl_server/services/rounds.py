"""Committing a round: its row, its checkpoint and its numbers, all in one transaction, exactly once."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from fl_server import events, kick
from fl_server.models import Checkpoint, Device, Round, Run, TrainingJob
from fl_server.services import contributions, participations, runs


@dataclass(frozen=True)
class RoundReport:
    """What a ServerApp knows about a finished round. Sizes are in bytes."""

    number: int
    started_at: datetime
    finished_at: datetime
    examples: int = 0
    accepted: int = 0
    rejected: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointFile:
    """A file that is already in place below the checkpoints folder."""

    path: str
    sha256: str
    size: int
    state_sha256: str = ""


def begin(run: Run, number: int, devices: list[Device]) -> None:
    """Note who was selected; raises `runs.Superseded` when the run was ended meanwhile."""
    with transaction.atomic():
        runs.extend_lease(run.pk, run.fence)
        participations.open_round(run, number, devices)


def commit(run: Run, report: RoundReport, file: CheckpointFile, *, evaluate: bool) -> Round:
    """Write the round; raises `runs.Superseded` when a newer run took over meanwhile."""
    with transaction.atomic():
        runs.extend_lease(run.pk, run.fence)
        # A write that went through although its answer was lost is repeated.
        if known := Round.objects.filter(run=run, number=report.number).first():
            return known
        row = Round.objects.create(
            job_id=run.job_id,
            run=run,
            number=report.number,
            started_at=report.started_at,
            finished_at=report.finished_at,
            examples=report.examples,
            accepted=report.accepted,
            rejected=report.rejected,
            bytes_down=report.bytes_down,
            bytes_up=report.bytes_up,
            metrics=report.metrics,
        )
        checkpoint = Checkpoint.objects.create(
            job_id=run.job_id,
            run=run,
            round_number=report.number,
            path=file.path,
            sha256=file.sha256,
            size=file.size,
            state_sha256=file.state_sha256,
            metrics=report.metrics,
        )
        events.round_committed(
            run.job_id,
            number=row.number,
            seconds=row.seconds,
            examples=row.examples,
            accepted=row.accepted,
            rejected=row.rejected,
            metrics=row.metrics,
        )
        contributions.record(run, report.number)
        kick.learn(row.pk)
        if evaluate:
            kick.evaluate(checkpoint.pk)
        _pause_where_wanted(run, report.number)
    return row


def _pause_where_wanted(run: Run, number: int) -> None:
    job = TrainingJob.objects.get(pk=run.job_id)
    if job.pausing and number < job.spec["rounds"]:
        run.job = job
        runs.pause(run, f"Paused after round {number}.")
