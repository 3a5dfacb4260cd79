from django.conf import settings
from django.db import models
from django.db.models import Q


class Notification(models.Model):
    """Something that one person should know."""

    class Kind(models.TextChoices):
        JOB_FINISHED = "job-finished", "A job of mine is done"
        JOB_FAILED = "job-failed", "A job of mine failed"
        JOB_WAITING = "job-waiting", "A job of mine waits long for devices"
        DEVICE_LOST = "device-lost", "A device of mine is no longer heard of"
        ALERT = "alert", "A device runs hot: an alert begins or ends"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=20, choices=Kind)
    title = models.CharField(max_length=160)
    text = models.TextField(blank=True)
    path = models.CharField(max_length=200, blank=True, help_text="Of the page that says more")
    # The same fact told twice is one notification.
    fact = models.CharField(max_length=120)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["user", "fact"], name="told_once")]

    def __str__(self) -> str:
        return self.title


class NotificationChoice(models.Model):
    """By which ways a person wants to hear of one kind. Without a row: see services.notifications."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notification_choices"
    )
    kind = models.CharField(max_length=20, choices=Notification.Kind)
    page = models.BooleanField(default=True)
    email = models.BooleanField(default=False)
    webhook = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "kind"], name="one_choice_of_a_kind")]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.kind}"


class Webhook(models.Model):
    """Where one person's notifications are posted, signed with the secret."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhook")
    url = models.URLField(max_length=500)
    secret = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"webhook of {self.user_id}"


class Delivery(models.Model):
    """One notification on its way by mail or webhook, tried again until it is there or given up."""

    class Way(models.TextChoices):
        EMAIL = "email"
        WEBHOOK = "webhook"

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="deliveries")
    way = models.CharField(max_length=8, choices=Way)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True, db_index=True, help_text="Empty once it has ended")
    delivered_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["notification", "way"], name="one_delivery_a_way")]

    def __str__(self) -> str:
        return f"{self.notification_id} by {self.way}"

    @property
    def state(self) -> str:
        if self.delivered_at:
            return "arrived"
        return "on its way" if self.due_at else "given up"


class AlertRule(models.Model):
    """High use of a resource that lasts. Values in per cent."""

    class Metric(models.TextChoices):
        CPU = "cpu", "CPU"
        MEMORY = "memory", "Memory"
        GPU = "gpu", "GPU"
        DISK = "disk", "Disk"

    metric = models.CharField(max_length=8, choices=Metric)
    threshold = models.FloatField(help_text="Begins when the use stays at or above this, in per cent")
    clear_below = models.FloatField(help_text="Ends when the use falls below this, in per cent")
    minutes = models.PositiveIntegerField(default=10, help_text="For so long before it begins")
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["metric", "threshold"]

    def __str__(self) -> str:
        lasting = "1 minute" if self.minutes == 1 else f"{self.minutes} minutes"
        return f"{self.get_metric_display()} at {self.threshold:g} % for {lasting}"


class Alert(models.Model):
    """A rule that holds for a device, from when to when."""

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="alerts")
    device = models.ForeignKey("fl_server.Device", on_delete=models.CASCADE, related_name="alerts")
    began_at = models.DateTimeField()
    cleared_at = models.DateTimeField(null=True, blank=True)
    value = models.FloatField(help_text="The highest use since it began, in per cent")

    class Meta:
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "device"], condition=Q(cleared_at__isnull=True), name="one_open_alert"
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule} on {self.device_id}"
