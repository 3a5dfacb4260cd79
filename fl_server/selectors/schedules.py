"""Schedules as people and the tick see them."""

from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import QuerySet

from fl_server import roles, timing
from fl_server.exceptions import InvalidInput
from fl_server.models import Schedule, TrainingJob

RUNS_SHOWN = 5


def visible_to(user: Any) -> QuerySet[Schedule]:
    """Every schedule for those who observe, none for anybody else."""
    if not roles.may_observe(user):
        return Schedule.objects.none()
    return Schedule.objects.select_related("owner")


def may_change(schedule: Schedule, user: Any) -> bool:
    return roles.is_admin(user) or (schedule.owner_id == user.pk and roles.may_submit(user))


def timing_of(schedule: Schedule) -> timing.Timing:
    if schedule.kind == Schedule.Kind.CRON:
        return timing.cron(schedule.cron, schedule.timezone)
    assert schedule.at is not None
    return timing.once(schedule.at, schedule.timezone)


def words(schedule: Schedule) -> str:
    """When it runs. A time zone that this server no longer knows must not hide the schedule."""
    try:
        return timing_of(schedule).words()
    except InvalidInput as exc:
        return exc.message


def is_over(schedule: Schedule, now: datetime) -> bool:
    """Whether no planned time is left. Of an unknown time zone nobody knows, so that it can be mended."""
    try:
        return next(timing_of(schedule).after(now), None) is None
    except InvalidInput:
        return False


def next_runs(schedule: Schedule, now: datetime) -> list[datetime]:
    """The next planned times, none while it is paused or its time zone is not known here."""
    if not schedule.enabled:
        return []
    try:
        return list(islice(timing_of(schedule).after(now), RUNS_SHOWN))
    except InvalidInput:
        return []


def due(now: datetime) -> QuerySet[Schedule]:
    """Those with an unsettled planned time: `settled_until` always ends just before the next."""
    return (
        Schedule.objects.filter(enabled=True, settled_until__lt=now)
        .select_related("owner")
        .order_by("settled_until")
    )


def unfinished(schedule: Schedule) -> TrainingJob | None:
    """The newest of its jobs that have not ended."""
    return schedule.jobs.exclude(status__in=TrainingJob.TERMINAL).order_by("-id").first()
