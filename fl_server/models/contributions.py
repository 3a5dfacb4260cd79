from django.conf import settings
from django.db import models


class Contribution(models.Model):
    """What one accepted participation gave. Rows are only ever added, and outlive what they name."""

    participation = models.OneToOneField(
        "fl_server.Participation", null=True, on_delete=models.SET_NULL, related_name="contribution"
    )
    device = models.ForeignKey("fl_server.Device", on_delete=models.PROTECT, related_name="contributions")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="contributions"
    )
    job = models.ForeignKey(
        "fl_server.TrainingJob", null=True, on_delete=models.SET_NULL, related_name="contributions"
    )
    job_name = models.CharField(max_length=120)
    round_number = models.PositiveIntegerField()
    at = models.DateTimeField(db_index=True)
    examples = models.PositiveBigIntegerField()
    seconds = models.FloatField(help_text="Of the device")
    energy_wh = models.FloatField(
        null=True, blank=True, help_text="Empty where the machine cannot measure it"
    )

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.examples} rows by {self.device_id} for {self.job_name}"
