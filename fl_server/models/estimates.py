from django.db import models


class MemoryEstimate(models.Model):
    """What training takes on a device, measured once for each model, data shape, optimiser and batch."""

    key = models.CharField(max_length=64, unique=True, help_text="SHA-256 of what it depends on")
    total_bytes = models.PositiveBigIntegerField()
    parts = models.JSONField(default=dict, help_text="Bytes of parameters, gradients, optimiser, activations")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.total_bytes} bytes"
