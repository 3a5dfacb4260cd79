"""Ending a job before its last round: its metric has reached the target, or no longer improves.

Decided where the evaluation of a round arrives, which may be a round or two behind; the round under way is
abandoned. A job that is queued or paused at that moment is judged by its next evaluation.
"""

from collections.abc import Iterable

from fl_server import spec
from fl_server.models import Run, TrainingJob
from fl_server.services import runs


def consider(job_id: int, number: int) -> bool:
    """Whether the evaluation of round `number` ended the job."""
    job = TrainingJob.objects.get(pk=job_id)
    if job.status != TrainingJob.Status.RUNNING:
        return False
    rule = spec.Stopping.model_validate(job.spec.get("stopping", {}))
    metric = spec.Metric.model_validate(job.spec["metric"])
    found = _reached(job, rule, metric, number) or _stands_still(job, rule, metric)
    run = Run.objects.filter(job=job, status=Run.Status.RUNNING).first() if found else None
    if found is None or run is None:
        return False
    run.job = job
    return runs.complete_early(run, *found)


def _reached(
    job: TrainingJob, rule: spec.Stopping, metric: spec.Metric, number: int
) -> tuple[str, str] | None:
    value = dict(_values(job, metric)).get(number)
    if rule.target is None or value is None:
        return None
    if value < rule.target if metric.direction == "maximize" else value > rule.target:
        return None
    return (
        "target-reached",
        f"Round {number} reached the target: {metric.name} {value:.4g} of {rule.target:g}.",
    )


def _stands_still(job: TrainingJob, rule: spec.Stopping, metric: spec.Metric) -> tuple[str, str] | None:
    if rule.patience is None:
        return None
    best, since = _best(_values(job, metric), metric.direction, rule.min_delta)
    if since < rule.patience:
        return None
    return "no-improvement", f"{since} evaluated rounds in a row were no better than round {best}."


def _best(values: Iterable[tuple[int, float]], direction: str, min_delta: float) -> tuple[int, int]:
    """The last round that was better by more than `min_delta`, and how many came after it."""
    sign = 1 if direction == "maximize" else -1
    round_number, best, since = 0, float("-inf"), 0
    for number, value in values:
        if sign * value > best + min_delta:
            round_number, best, since = number, sign * value, 0
        else:
            since += 1
    return round_number, since


def _values(job: TrainingJob, metric: spec.Metric) -> list[tuple[int, float]]:
    rows = job.rounds.exclude(evaluation={}).order_by("number").values_list("number", "evaluation")
    return [(number, found[metric.name]) for number, found in rows if metric.name in found]
