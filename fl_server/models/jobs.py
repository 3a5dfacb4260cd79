from django.conf import settings
from django.db import models


class TrainingJob(models.Model):
    """What a researcher asked for. Its statuses move only through `lifecycle.advance`."""

    class Status(models.TextChoices):
        DRAFT = "draft"
        QUEUED = "queued"
        RUNNING = "running"
        PAUSED = "paused"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    TRANSITIONS = {
        Status.DRAFT: {Status.QUEUED, Status.CANCELLED},
        Status.QUEUED: {Status.RUNNING, Status.PAUSED, Status.FAILED, Status.CANCELLED},
        Status.RUNNING: {
            Status.QUEUED,
            Status.PAUSED,
            Status.COMPLETED,
            Status.FAILED,
            Status.CANCELLED,
        },
        Status.PAUSED: {Status.QUEUED, Status.FAILED, Status.CANCELLED},
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
    start_checkpoint = models.ForeignKey(
        "fl_server.Checkpoint",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="starts",
        help_text="Begins with these weights instead of new ones",
    )
    cloned_from = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="clones"
    )
    schedule = models.ForeignKey(
        "fl_server.Schedule", null=True, blank=True, on_delete=models.SET_NULL, related_name="jobs"
    )
    pausing = models.BooleanField(default=False, help_text="Pauses once the round under way is finished")
    memory_bytes = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="What its training takes on a device, given or estimated"
    )
    expected_start = models.DateTimeField(null=True, blank=True)
    expected_end = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True, help_text="Not done by then, it fails")
    created_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField(
        null=True, blank=True, help_text="Waits so long: for its time, or after a failed run"
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

    @property
    def phase(self) -> str:
        """The coarser of the two levels of its status: draft, queued, running, paused or finished."""
        return "finished" if self.status in self.TERMINAL else str(self.status)


class JobEvent(models.Model):
    """One move of a job. Rows are only ever added."""

    job = models.ForeignKey(TrainingJob, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    status = models.CharField(max_length=12, choices=TrainingJob.Status, help_text="From then on")
    code = models.CharField(max_length=40, blank=True)
    sentence = models.TextField(blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    run = models.ForeignKey(
        "fl_server.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.job_id}: {self.status} {self.code}"


class Quota(models.Model):
    """What one person, or the members of a group together, may hold at once. Empty means without bound."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="quota"
    )
    group = models.OneToOneField(
        "auth.Group", null=True, blank=True, on_delete=models.CASCADE, related_name="quota"
    )
    max_running_jobs = models.PositiveIntegerField(null=True, blank=True)
    max_devices = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(group__isnull=True), name="quota_of_one"
            )
        ]

    def __str__(self) -> str:
        return f"quota of {self.user or self.group}"
