from django.conf import settings
from django.db import models
from django.db.models import Q


class Policy(models.Model):
    """A layer of rules from above: the company's one, or that of the devices with a label."""

    label_name = models.CharField(max_length=40, blank=True, help_text="Empty: the whole company")
    label_value = models.CharField(max_length=80, blank=True)
    rules = models.JSONField(
        default=dict, help_text="fl_client.policy.rules.Rules, without what it does not say"
    )
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["label_name", "label_value"]
        verbose_name_plural = "policies"
        constraints = [
            models.UniqueConstraint(fields=["label_name", "label_value"], name="policy_once"),
            models.CheckConstraint(
                condition=Q(label_name="", label_value="") | ~Q(label_name=""), name="policy_of_a_label"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label_name}={self.label_value}" if self.label_name else "the company"
