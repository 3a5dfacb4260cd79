import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from fl_server import short_code


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
    may_start = models.BooleanField(
        default=True, help_text="Whether new work may begin; running work may go on"
    )
    decision_codes = models.JSONField(default=list, blank=True, help_text="Why not, most important first")
    decision_reason = models.CharField(max_length=200, blank=True, help_text="The first reason as a sentence")
    decision_until = models.DateTimeField(
        null=True, blank=True, help_text="Not before, where time alone tells"
    )
    owner_rules = models.JSONField(default=dict, blank=True, help_text="The owner's own layer of the policy")
    private_data = models.JSONField(
        default=list, blank=True, help_text="Datasets that never leave it: name, kind, columns, counts"
    )
    replaced_by = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="replaced"
    )
    warned_at = models.DateTimeField(
        null=True, blank=True, help_text="When its owner was told that it will be removed"
    )

    relative_speed = models.FloatField(
        null=True, blank=True, help_text="Rows a second, as a multiple of the median of its rounds"
    )
    network_bytes_a_second = models.FloatField(null=True, blank=True, help_text="Measured in its rounds")
    free_hours = models.JSONField(
        default=list,
        blank=True,
        help_text="How often it was free, of each hour of the week (UTC, from Monday)",
    )
    reputation = models.FloatField(default=1.0, help_text="From 0 to 1; see services.reputation")
    quarantined_at = models.DateTimeField(null=True, blank=True, db_index=True)
    quarantine_reason = models.CharField(max_length=200, blank=True)

    enrolled_at = models.DateTimeField(auto_now_add=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_seen = models.DateTimeField(null=True, blank=True, db_index=True)
    disconnected_at = models.DateTimeField(null=True, blank=True)
    socket = models.PositiveBigIntegerField(default=0, help_text="Number of its newest connection")

    class Meta:
        ordering = ["name"]
        # Every tick asks for those without one.
        indexes = [models.Index(fields=["node_id"], name="device_by_node")]

    def __str__(self) -> str:
        return self.name

    @property
    def short_code(self) -> str:
        """What the owner compares on the machine's terminal before an admin approves it."""
        return short_code.of(self.identity_key)

    @staticmethod
    def gone(prefix: str = "") -> Q:
        """Never heard of, or hung up since; `prefix` leads to the device from another model."""
        seen = f"{prefix}last_seen"
        return Q(**{f"{seen}__isnull": True}) | Q(**{f"{prefix}disconnected_at__gte": F(seen)})

    @staticmethod
    def silent(prefix: str = "") -> Q:
        """Heard of, but not lately: the network is down, or whoever would have noted its end was."""
        patience = timedelta(seconds=settings.STALE_AFTER)
        return Q(**{f"{prefix}last_seen__lt": timezone.now() - patience})

    @property
    def is_gone(self) -> bool:
        left, seen = self.disconnected_at, self.last_seen
        return seen is None or (left is not None and left >= seen)

    @property
    def is_silent(self) -> bool:
        patience = timedelta(seconds=settings.STALE_AFTER)
        return self.last_seen is not None and timezone.now() - self.last_seen > patience

    @property
    def presence(self) -> str:
        """What the device is doing now. Uses `is_reserved` when a selector annotated it."""
        if self.status != self.Status.APPROVED:
            return Device.Presence(self.status)
        if self.is_gone:
            return Device.Presence.OFFLINE
        if self.is_silent:
            return Device.Presence.STALE
        if not self.may_train:
            return Device.Presence.PAUSED
        reserved = getattr(self, "is_reserved", None)
        if reserved is None:
            reserved = self.reservations.filter(released_at__isnull=True).exists()
        return Device.Presence.TRAINING if reserved else Device.Presence.IDLE
