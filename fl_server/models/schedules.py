from django.conf import settings
from django.db import models


class Schedule(models.Model):
    """A job that starts by itself: once, or whenever its cron expression says.

    Its clock is a django-celery-beat PeriodicTask of the same number; see services.schedules.
    """

    class Kind(models.TextChoices):
        ONCE = "once"
        CRON = "cron"

    class Missed(models.TextChoices):
        RUN_ONCE = "run-once"
        SKIP = "skip"

    name = models.CharField(max_length=120)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="schedules")
    spec = models.JSONField(help_text="Of each job that it starts (fl_server.spec.JobSpec)")
    kind = models.CharField(max_length=4, choices=Kind)
    at = models.DateTimeField(null=True, blank=True, help_text="When, if only once")
    cron = models.CharField(max_length=100, blank=True, help_text="minute hour day month weekday")
    timezone = models.CharField(max_length=60, default="UTC")
    enabled = models.BooleanField(default=True)
    single_instance = models.BooleanField(
        default=True, help_text="Starts nothing while a job that it started has not ended"
    )
    missed = models.CharField(
        max_length=8, choices=Missed, default=Missed.RUN_ONCE, help_text="What to do about times that passed"
    )
    settled_until = models.DateTimeField(help_text="Every planned time up to then has been dealt with")
    last_outcome = models.CharField(max_length=200, blank=True, help_text="What the last planned time led to")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name
