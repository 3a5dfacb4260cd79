"""What nobody does and people should know all the same: a job that waits long, a device that stays away."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.cache import cache
from django.db.models import OuterRef, Subquery, Value
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from fl_server.models import Device, JobEvent, TrainingJob
from fl_server.selectors.notifications import Kind
from fl_server.services import notifications
from fl_server.services.notifications import News

Status = TrainingJob.Status

LOOKED = "looked-for-lost-devices"


def remind(now: datetime | None = None) -> int:
    """Tell whom it concerns; returns how much was new."""
    now = now or timezone.now()
    return notifications.tell_all([*jobs_that_wait(now), *lost_devices(now)])


def jobs_that_wait(now: datetime) -> list[News]:
    """Jobs that have been in the queue for too long, each time they get there."""
    moves = JobEvent.objects.filter(job=OuterRef("pk"), status=Status.QUEUED)
    elsewhere = JobEvent.objects.filter(job=OuterRef("job")).exclude(status=Status.QUEUED).order_by("-pk")
    since_then = moves.filter(pk__gt=Coalesce(Subquery(elsewhere.values("pk")[:1]), Value(0)))
    entered = Coalesce(Subquery(since_then.order_by("pk").values("at")[:1]), "submitted_at", "created_at")
    # Until its time has come a job waits for nothing.
    since = Greatest("entered", Coalesce("not_before", "entered"))
    hours = settings.WAITING_NOTICE_HOURS
    rows = TrainingJob.objects.filter(status=Status.QUEUED).annotate(entered=entered, since=since)
    return [
        News(
            job.owner_id,
            Kind.JOB_WAITING,
            f"“{job.name}” has waited for more than {_hours(hours)}",
            f"job:{job.pk}:waiting:{job.entered.isoformat()}",
            str(job.waiting.get("sentence", "")),
            f"/jobs/{job.pk}/",
        )
        for job in rows.filter(since__lt=now - timedelta(hours=hours))
    ]


def lost_devices(now: datetime) -> list[News]:
    """Approved devices that were heard of once, and not for long."""
    if not _was_up(now):
        return []
    before = now - timedelta(hours=settings.LOST_AFTER_HOURS)
    rows = Device.objects.filter(status=Device.Status.APPROVED, last_seen__lt=before)
    return [
        News(
            owner_id,
            Kind.DEVICE_LOST,
            f"{name} has not been heard of for {_hours(settings.LOST_AFTER_HOURS)}",
            f"device:{pk}:lost:{seen.isoformat()}",
            "It takes no part until it is switched on and its client runs.",
            f"/devices/{pk}/",
        )
        for pk, name, owner_id, seen in rows.values_list("pk", "name", "owner_id", "last_seen")
    ]


def _was_up(now: datetime) -> bool:
    """Whether the platform itself was there before: one that was switched off heard of nobody either."""
    known = cache.get(LOOKED)
    cache.set(LOOKED, now.isoformat(), 3 * settings.REMIND_SECONDS)
    return known is not None


def _hours(hours: float) -> str:
    return f"{hours:g} hour{'' if hours == 1 else 's'}"
