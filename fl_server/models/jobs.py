from django.conf import settings
from django.db import models


class TrainingJob(models.Model):
    """What a researcher asked for. Its statuses move only through `lifecycle.advance`."""

    class Status(models.TextChoices):
        DRAFT = "draft"
        QUEUED = "queued"
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    TRANSITIONS = {
        Status.DRAFT: {Status.QUEUED, Status.CANCELLED},
        Status.QUEUED: {Status.RUNNING, Status.FAILED, Status.CANCELLED},
        Status.RUNNING: {Status.QUEUED, Status.COMPLETED, Status.FAILED, Status.CANCELLED},
    }
    ACTIVE = frozenset({Status.QUEUED, Status.RUNNING})
    TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

    name = models.CharField(max_length=120)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs")
    spec = models.JSONField(help_text="The validated specification (fl_server.spec.JobSpec)")
    status = models.CharField(max_length=12, choices=Status, default=Status.DRAFT, db_index=True)
    reason_code = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True, help_text="Why it ended, in one sentence")
    waiting = models.JSONField(
        default=dict, blank=True, help_text="Why it is still queued: needed, fitting, reasons"
    )
    priority = models.SmallIntegerField(default=0)
    idempotency_key = models.CharField(max_length=80, null=True, blank=True)  # noqa: DJ001  NULL is exempt from unique
    best_checkpoint = models.ForeignKey(
        "fl_server.Checkpoint", null=True, blank=True, on_delete=models.SET_NULL, related_name="best_of"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField(
        null=True, blank=True, help_text="A job whose run failed waits so long for the next"
    )
    submitted_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "idempotency_key"], name="job_idempotency_key"),
        ]

    def __str__(self) -> str:
        return f"job {self.pk} “{self.name}”"
