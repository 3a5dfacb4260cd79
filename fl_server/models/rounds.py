from django.db import models


class Round(models.Model):
    """A committed round: exactly one row for each round of a job."""

    job = models.ForeignKey("fl_server.TrainingJob", on_delete=models.CASCADE, related_name="rounds")
    run = models.ForeignKey("fl_server.Run", on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    examples = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    bytes_down = models.PositiveBigIntegerField(default=0)
    bytes_up = models.PositiveBigIntegerField(default=0)
    metrics = models.JSONField(default=dict, help_text="Weighted means of what the devices reported")
    evaluation = models.JSONField(default=dict, help_text="The server's own evaluation on the test split")

    class Meta:
        ordering = ["job", "number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="round_once")]

    def __str__(self) -> str:
        return f"round {self.number} of job {self.job_id}"

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds()


class Participation(models.Model):
    """One device in one round of one run."""

    class Status(models.TextChoices):
        SELECTED = "selected"
        DOWNLOADING = "downloading"
        TRAINING = "training"
        UPLOADING = "uploading"
        PARKED = "parked"
        ACCEPTED = "accepted"
        REJECTED = "rejected"
        LATE = "late"
        LOST = "lost"

    _OPEN_NEXT = {Status.ACCEPTED, Status.REJECTED, Status.LATE, Status.LOST}
    _WORKING = {Status.DOWNLOADING, Status.TRAINING, Status.UPLOADING, Status.PARKED}
    TRANSITIONS = {
        Status.SELECTED: _WORKING | _OPEN_NEXT,
        Status.DOWNLOADING: _WORKING | _OPEN_NEXT | {Status.SELECTED},
        Status.TRAINING: _WORKING | _OPEN_NEXT | {Status.SELECTED},
        Status.UPLOADING: _WORKING | _OPEN_NEXT | {Status.SELECTED},
        Status.PARKED: _WORKING | _OPEN_NEXT | {Status.SELECTED},
        # A device that was given up may still answer, before its round closes or after.
        Status.LOST: {Status.ACCEPTED, Status.REJECTED, Status.LATE},
    }
    ACTIVE = frozenset({Status.SELECTED} | _WORKING)
    TERMINAL = frozenset(_OPEN_NEXT - {Status.LOST})

    run = models.ForeignKey("fl_server.Run", on_delete=models.CASCADE, related_name="participations")
    round_number = models.PositiveIntegerField()
    device = models.ForeignKey("fl_server.Device", on_delete=models.CASCADE, related_name="participations")
    status = models.CharField(max_length=12, choices=Status, default=Status.SELECTED)
    reason_code = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=1)
    examples = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)
    bytes_down = models.PositiveBigIntegerField(default=0)
    bytes_up = models.PositiveBigIntegerField(default=0)
    metrics = models.JSONField(default=dict)
    partial = models.BooleanField(default=False, help_text="Handed in before all of it was done")
    lost_seconds = models.FloatField(default=0.0, help_text="Training done and done again, or thrown away")
    energy_wh = models.FloatField(
        null=True, blank=True, help_text="Empty where the machine cannot measure it"
    )
    train_seconds = models.FloatField(null=True, blank=True)
    transfer_seconds = models.FloatField(null=True, blank=True, help_text="Down and up together")
    update_norm = models.FloatField(null=True, blank=True, help_text="Euclidean, of new minus old weights")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["run", "round_number", "device"]
        constraints = [
            models.UniqueConstraint(fields=["run", "round_number", "device"], name="participation_once")
        ]

    def __str__(self) -> str:
        return f"{self.device} in round {self.round_number} of {self.run}"
