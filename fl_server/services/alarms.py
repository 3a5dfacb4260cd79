"""The rows of django-celery-beat that wake schedules in time. Without one the tick finds it a bit later."""

import json

from django_celery_beat.models import ClockedSchedule, CrontabSchedule, PeriodicTask

from fl_server.models import Schedule

TASK = "fl_server.tasks.run_schedule"
# A message that waited longer is of no use: the tick was there first.
EXPIRE_SECONDS = 60


def put(schedule: Schedule) -> None:
    """Make the alarm what the schedule says, in the caller's transaction."""
    remove(schedule.pk)
    clocked = crontab = None
    if schedule.kind == Schedule.Kind.ONCE:
        clocked = ClockedSchedule.objects.create(clocked_time=schedule.at)
    else:
        minute, hour, day, month, weekday = schedule.cron.split()
        crontab = CrontabSchedule.objects.create(
            minute=minute,
            hour=hour,
            day_of_month=day,
            month_of_year=month,
            day_of_week=weekday,
            timezone=schedule.timezone,
        )
    PeriodicTask.objects.create(
        name=_name(schedule.pk),
        task=TASK,
        args=json.dumps([schedule.pk]),
        crontab=crontab,
        clocked=clocked,
        one_off=clocked is not None,
        enabled=schedule.enabled,
        expire_seconds=EXPIRE_SECONDS,
    )


def remove(schedule_id: int) -> None:
    found = PeriodicTask.objects.filter(name=_name(schedule_id)).select_related("crontab", "clocked").first()
    if found is None:
        return
    # Its time is a row of its own, which takes the alarm along.
    found.delete()
    (found.crontab or found.clocked).delete()


def _name(schedule_id: int) -> str:
    return f"schedule {schedule_id}"
