from typing import Any

from django.db.models import QuerySet

from fl_server import roles
from fl_server.models import Checkpoint, Round, Run


def visible_to(user: Any) -> QuerySet[Checkpoint]:
    checkpoints = Checkpoint.objects.select_related("job")
    return checkpoints if roles.may_observe(user) else checkpoints.none()


def is_overtaken(checkpoint: Checkpoint) -> bool:
    """Whether other jobs wait for the evaluator, which has a newer checkpoint of this job to test as well."""
    newer = Checkpoint.objects.filter(job=checkpoint.job_id, round_number__gt=checkpoint.round_number)
    others = Run.objects.filter(status__in=Run.ACTIVE).exclude(job=checkpoint.job_id)
    return newer.exists() and others.exists()


def is_evaluated(checkpoint: Checkpoint) -> bool:
    """Whether the server has tested it already; a repeated message must not keep the evaluator busy."""
    if checkpoint.round_number == 0:
        return checkpoint.job.spec["metric"]["name"] in checkpoint.metrics
    rounds = Round.objects.filter(job=checkpoint.job_id, number=checkpoint.round_number)
    return rounds.exclude(evaluation={}).exists()
