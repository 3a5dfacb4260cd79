"""Jobs as people see them."""

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from fl_server import roles
from fl_server.models import JobEvent, Reservation, Round, Run, TrainingJob


def visible_to(user: Any) -> QuerySet[TrainingJob]:
    """Every job with its head line for those who observe, none for anybody else."""
    if not roles.may_observe(user):
        return TrainingJob.objects.none()
    return with_headline(TrainingJob.objects.select_related("owner", "best_checkpoint"))


def with_headline(jobs: QuerySet[TrainingJob]) -> QuerySet[TrainingJob]:
    """Annotate rounds_done, devices_now, evaluated_round, last_evaluation and last_metrics."""
    rounds = Round.objects.filter(job=OuterRef("pk")).order_by("-number")
    evaluated = rounds.exclude(evaluation={})
    lent = Reservation.objects.filter(run__job=OuterRef("pk"), released_at__isnull=True)
    return jobs.annotate(
        rounds_done=_count(rounds, "job"),
        devices_now=_count(lent, "run__job"),
        evaluated_round=Subquery(evaluated.values("number")[:1]),
        last_evaluation=Subquery(evaluated.values("evaluation")[:1]),
        last_metrics=Subquery(rounds.values("metrics")[:1]),
    )


def _count(rows: QuerySet[Any], group: str) -> Any:
    counted = rows.order_by().values(group).annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def headline(job: TrainingJob) -> dict[str, Any]:
    """What a list shows of a job that `with_headline` annotated. Loss and accuracy are the server's own."""
    evaluation = job.last_evaluation or {}
    return {
        "rounds": job.spec.get("rounds", 0),
        "rounds_done": job.rounds_done,
        "devices": job.devices_now,
        "evaluated_round": job.evaluated_round,
        "loss": evaluation.get("loss"),
        "accuracy": evaluation.get("accuracy"),
        "training": job.last_metrics or {},
    }


def charts(job: TrainingJob) -> dict[str, Any]:
    """One array for each curve, all as long as `rounds`; null where a round has no value."""
    rounds = list(job.rounds.order_by("number"))
    return {
        "rounds": [r.number for r in rounds],
        "seconds": [round(r.seconds, 3) for r in rounds],
        "examples": [r.examples for r in rounds],
        "accepted": [r.accepted for r in rounds],
        "rejected": [r.rejected for r in rounds],
        "bytes_down": [r.bytes_down for r in rounds],
        "bytes_up": [r.bytes_up for r in rounds],
        "evaluation": _series([r.evaluation for r in rounds]),
        "training": _series([r.metrics for r in rounds]),
    }


def _series(documents: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = sorted({name for document in documents for name in document})
    return {name: [document.get(name) for document in documents] for name in names}


def timeline(job: TrainingJob) -> QuerySet[JobEvent]:
    """Every move of the job, the oldest first."""
    return job.events.select_related("actor", "run").order_by("id")


def activity() -> dict[str, int]:
    """How busy the platform is."""
    return {
        "queued_jobs": TrainingJob.objects.filter(status=TrainingJob.Status.QUEUED).count(),
        "running_jobs": TrainingJob.objects.filter(status=TrainingJob.Status.RUNNING).count(),
        "active_runs": Run.objects.filter(status__in=Run.ACTIVE).count(),
    }
