from django.db import models
from django.db.models import Q


class TelemetryBucket(models.Model):
    """What a device measured in one minute or one hour. The samples themselves are kept for a day."""

    class Span(models.IntegerChoices):
        MINUTE = 60
        HOUR = 3600

    device = models.ForeignKey("fl_server.Device", on_delete=models.CASCADE, related_name="telemetry_buckets")
    start = models.DateTimeField()
    span = models.PositiveSmallIntegerField(choices=Span, help_text="Seconds")
    count = models.PositiveIntegerField(help_text="Samples in it")
    means = models.JSONField(help_text="Name of a number → its mean; `gpu0.load` for the first GPU")
    highest = models.JSONField(help_text="Name of a number → its highest value")
    lowest = models.JSONField(help_text="Name of a number → its lowest value")
    samples = models.JSONField(null=True, blank=True, help_text="Of a minute that is younger than a day")

    class Meta:
        ordering = ["device", "start"]
        constraints = [models.UniqueConstraint(fields=["device", "span", "start"], name="telemetry_once")]
        indexes = [
            models.Index(fields=["span", "start"], name="telemetry_by_age"),
            models.Index(fields=["start"], condition=Q(samples__isnull=False), name="telemetry_with_samples"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} at {self.start:%Y-%m-%d %H:%M}"
