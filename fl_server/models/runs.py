from django.db import models
from django.db.models import Q


class Run(models.Model):
    """One attempt at a job in the engine. The lease is extended by its ServerApp and by nothing else."""

    class Status(models.TextChoices):
        PREPARING = "preparing"
        LAUNCHED = "launched"
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    TRANSITIONS = {
        Status.PREPARING: {Status.LAUNCHED, Status.RUNNING, Status.FAILED, Status.CANCELLED},
        # An engine that does not answer sends a run back, to be launched again.
        Status.LAUNCHED: {Status.PREPARING, Status.RUNNING, Status.FAILED, Status.CANCELLED},
        Status.RUNNING: {Status.COMPLETED, Status.FAILED, Status.CANCELLED},
    }
    ACTIVE = frozenset({Status.PREPARING, Status.LAUNCHED, Status.RUNNING})
    TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

    job = models.ForeignKey("fl_server.TrainingJob", on_delete=models.CASCADE, related_name="runs")
    number = models.PositiveIntegerField(help_text="1 is the first attempt")
    # A writer that shows an older fence than the newest run of the job is refused.
    fence = models.PositiveIntegerField()
    status = models.CharField(max_length=12, choices=Status, default=Status.PREPARING, db_index=True)
    reason_code = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)
    traceback = models.TextField(blank=True)
    engine_run_id = models.CharField(max_length=20, blank=True, help_text="Flower's run id (unsigned 64 bit)")
    partitions = models.PositiveIntegerField(help_text="How many parts the dataset is cut into")
    partition_rows = models.JSONField(default=list, blank=True, help_text="Rows of each part, once known")
    first_round = models.PositiveIntegerField(default=1)
    lease_until = models.DateTimeField(null=True, blank=True)
    prepared_at = models.DateTimeField(
        null=True, blank=True, help_text="Initial weights and partitions are ready"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    engine_stopped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="run_number"),
            models.UniqueConstraint(
                fields=["job"],
                condition=Q(status__in=["preparing", "launched", "running"]),
                name="one_active_run",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.number} of job {self.job_id}"


class Reservation(models.Model):
    """A device lent to a run, with the partition that it was dealt."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="reservations")
    device = models.ForeignKey("fl_server.Device", on_delete=models.CASCADE, related_name="reservations")
    partition = models.PositiveIntegerField()
    rows = models.PositiveIntegerField(null=True, blank=True, help_text="Rows dealt to this device")
    reserved_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(
        null=True, blank=True, help_text="Its node is connected and its worker warm"
    )
    rows_found = models.PositiveIntegerField(
        null=True, blank=True, help_text="Rows that the device found in its own copy of the dataset"
    )
    problem = models.CharField(max_length=500, blank=True, help_text="Why it can do nothing for this run")
    choice = models.JSONField(
        default=dict, blank=True, help_text="Why it was chosen: score, its parts, a sentence"
    )
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "device"], name="reservation_once"),
            models.UniqueConstraint(
                fields=["device"], condition=Q(released_at__isnull=True), name="one_run_per_device"
            ),
            models.UniqueConstraint(
                fields=["run", "partition"], condition=Q(released_at__isnull=True), name="one_device_per_part"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.device} for {self.run}"
