from django.conf import settings
from django.db import models


class ClientLog(models.Model):
    """The last lines of a client's log, asked for by a person; the client has struck out what is secret."""

    device = models.ForeignKey("fl_server.Device", on_delete=models.CASCADE, related_name="client_logs")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    asked_at = models.DateTimeField(auto_now_add=True)
    received_at = models.DateTimeField(null=True, blank=True)
    text = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"log of {self.device_id}, {self.asked_at:%Y-%m-%d %H:%M}"
