from django.db import models


class Checkpoint(models.Model):
    """A safetensors file below CHECKPOINTS_DIR; round 0 holds the initial weights."""

    class Storage(models.TextChoices):
        FULL = "full"
        FLOAT16 = "float16"
        DELTA = "delta"

    job = models.ForeignKey("fl_server.TrainingJob", on_delete=models.CASCADE, related_name="checkpoints")
    run = models.ForeignKey("fl_server.Run", on_delete=models.CASCADE, related_name="checkpoints")
    round_number = models.PositiveIntegerField()
    path = models.CharField(max_length=200, help_text="Relative to the checkpoints folder")
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes")
    state_sha256 = models.CharField(
        max_length=64, blank=True, help_text="Of the strategy's own state beside it"
    )
    metrics = models.JSONField(default=dict)
    pinned = models.BooleanField(default=False)
    storage = models.CharField(max_length=8, choices=Storage, default=Storage.FULL)
    base = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="deltas",
        help_text="What a delta is added to",
    )
    bytes_saved = models.PositiveBigIntegerField(default=0)
    removed_at = models.DateTimeField(null=True, blank=True, help_text="When its file was swept away")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["job", "-round_number"]
        constraints = [models.UniqueConstraint(fields=["job", "round_number"], name="checkpoint_once")]

    def __str__(self) -> str:
        return f"checkpoint of round {self.round_number} of job {self.job_id}"
