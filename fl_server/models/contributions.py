from typing import Any

from django.conf import settings
from django.db import models


class AddedOnly(TypeError):
    """Somebody tried to change or delete a row of the ledger."""

    def __init__(self) -> None:
        super().__init__("rows of the ledger are only ever added")


class Ledger(models.QuerySet["Contribution"]):
    """Refuses what would rewrite the past. Django's own SET_NULL, of a job that is deleted, goes past it."""

    def update(self, **_: Any) -> int:
        raise AddedOnly

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AddedOnly

    def bulk_update(self, *_: Any, **__: Any) -> int:
        raise AddedOnly


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

    objects = Ledger.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.examples} rows by {self.device_id} for {self.job_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AddedOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise AddedOnly
