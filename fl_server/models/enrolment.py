from django.conf import settings
from django.db import models
from django.utils import timezone


class EnrolmentCode(models.Model):
    """Lets machines join on behalf of `owner`. Only a hash of the secret is kept."""

    label = models.CharField(max_length=80)
    secret_hash = models.CharField(max_length=64, unique=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="enrolment_codes"
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    approves = models.BooleanField(default=True, help_text="Devices that use it need no further approval")
    labels = models.JSONField(default=dict, blank=True)
    max_uses = models.PositiveIntegerField(default=1)
    uses = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.label

    @property
    def state(self) -> str:
        """`open`, `used-up`, `expired` or `revoked`."""
        if self.revoked_at:
            return "revoked"
        if self.expires_at <= timezone.now():
            return "expired"
        return "used-up" if self.uses >= self.max_uses else "open"
