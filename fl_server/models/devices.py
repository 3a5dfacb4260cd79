import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


class Device(models.Model):
    """An employee's machine. Only facts are stored; what it is doing right now is derived by `presence`."""

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REVOKED = "revoked"

    TRANSITIONS = {
        Status.PENDING: {Status.APPROVED, Status.REVOKED},
        Status.APPROVED: {Status.REVOKED},
    }

    class Presence(models.TextChoices):
        """Derived, never stored."""

        PENDING = "pending"
        REVOKED = "revoked"
        OFFLINE = "offline"
        STALE = "stale"
        PAUSED = "paused"
        TRAINING = "training"
        IDLE = "idle"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="devices")
    name = models.CharField(max_length=80)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING, db_index=True)
    labels = models.JSONField(default=dict, blank=True)

    identity_key = models.TextField(unique=True, help_text="Public key of the device's identity (PEM)")
    certificate_serial = models.CharField(max_length=40, blank=True)
    certificate_until = models.DateTimeField(null=True, blank=True)
    node_key = models.TextField(unique=True, help_text="Public key of its Flower node (PEM)")
    node_id = models.CharField(max_length=20, blank=True, help_text="Given by the engine (unsigned 64 bit)")
    node_unregistered_at = models.DateTimeField(null=True, blank=True)
    machine_hash = models.CharField(max_length=64, blank=True, db_index=True)

    hardware = models.JSONField(
        default=dict, blank=True, help_text="Cores, RAM, GPUs as the client read them"
    )
    platform = models.CharField(max_length=120, blank=True)
    client_version = models.CharField(max_length=20, blank=True)
    telemetry = models.JSONField(default=dict, blank=True, help_text="The last sample")
    may_train = models.BooleanField(default=True, help_text="The device's own last decision")
    decision_reason = models.CharField(max_length=200, blank=True)

    enrolled_at = models.DateTimeField(auto_now_add=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_seen = models.DateTimeField(null=True, blank=True, db_index=True)
    disconnected_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def presence(self) -> str:
        """What the device is doing now. Uses `is_reserved` when a selector annotated it."""
        if self.status != self.Status.APPROVED:
            return Device.Presence(self.status)
        if self.last_seen is None or (self.disconnected_at and self.disconnected_at >= self.last_seen):
            return Device.Presence.OFFLINE
        if timezone.now() - self.last_seen > timedelta(seconds=settings.STALE_AFTER):
            return Device.Presence.STALE
        if not self.may_train:
            return Device.Presence.PAUSED
        reserved = getattr(self, "is_reserved", None)
        if reserved is None:
            reserved = self.reservations.filter(released_at__isnull=True).exists()
        return Device.Presence.TRAINING if reserved else Device.Presence.IDLE
