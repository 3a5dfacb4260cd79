"""Queued jobs whose memory nobody knows yet: asked again, and not held back for long."""

from datetime import timedelta

from django.utils import timezone

from fl_server import spec
from fl_server.models import TrainingJob
from fl_server.services import estimates, jobs

# A question without an answer is taken for lost.
ASK_AGAIN = timedelta(seconds=6)
UNKNOWN = (
    f"How much memory it takes was not known after {estimates.PATIENCE.total_seconds():.0f} s; it starts "
    "without, on devices that may turn out too small."
)


def overdue() -> list[spec.JobSpec]:
    """What has to be asked for again."""
    late = estimates.held().filter(submitted_at__lt=timezone.now() - ASK_AGAIN)
    return [spec.parse(document) for document in late.values_list("spec", flat=True)]


def give_up() -> None:
    """Let jobs start without an estimate."""
    for job in estimates.held().filter(submitted_at__lte=timezone.now() - estimates.PATIENCE):
        if TrainingJob.objects.filter(pk=job.pk, not_before=job.not_before).update(not_before=None):
            jobs.note(job, "memory-unknown", UNKNOWN)
