"""What people do with schedules, and what happens when one is due."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from fl_server import roles, spec, timing
from fl_server.exceptions import Conflict, ConstellationError, InvalidInput, NotAllowed, NotFound
from fl_server.models import Schedule, TrainingJob
from fl_server.selectors import schedules as selectors
from fl_server.services import alarms, audit, jobs

logger = logging.getLogger(__name__)

# With the policy `skip` a planned time that is older has been missed.
FRESH = timedelta(minutes=5)
# `settled_until` ends so long before the next planned time, so that finding what is due is one comparison.
INSTANT = timedelta(microseconds=1)
JOB_NAME = 100  # characters of the schedule's name in that of its job
OUTCOME = 200
MOST_OF_ONE = 100  # schedules of one person
AT_ONCE = 20  # that one tick starts; the next takes the rest
TIMES = ("kind", "at", "cron", "timezone")
CHANGEABLE = frozenset({"name", "spec", *TIMES, "single_instance", "missed"})


def create(by: Any, **fields: Any) -> Schedule:
    """`fields` are those of CHANGEABLE; name, spec and kind with at or cron must be among them."""
    if not roles.may_submit(by):
        raise NotAllowed("Only researchers and admins create schedules.")
    if Schedule.objects.filter(owner=by).count() >= MOST_OF_ONE:
        raise Conflict(f"{by.get_username()} has {MOST_OF_ONE} schedules, which is the most allowed.")
    schedule = Schedule(owner=by)
    _set(schedule, fields)
    with transaction.atomic():
        schedule.settled_until = _settled(schedule, timezone.now())
        schedule.save()
        alarms.put(schedule)
        audit.record(by, "schedule.create", _target(schedule), name=schedule.name, when=_words(schedule))
    return schedule


def change(schedule: Schedule, by: Any, **fields: Any) -> Schedule:
    """Times that passed before are dealt with: a new time never starts anything backwards."""
    with transaction.atomic():
        schedule = _locked(schedule, by)
        before = {name: getattr(schedule, name) for name in CHANGEABLE}
        was_over = selectors.is_over(schedule, timezone.now())
        _set(schedule, fields)
        changed = sorted(name for name, value in before.items() if getattr(schedule, name) != value)
        if set(changed) & set(TIMES):
            schedule.settled_until = _settled(schedule, timezone.now())
            schedule.enabled = schedule.enabled or was_over
            alarms.put(schedule)
        schedule.save()
        if changed:
            audit.record(by, "schedule.change", _target(schedule), changed=changed, when=_words(schedule))
    return schedule


def pause(schedule: Schedule, by: Any) -> Schedule:
    """Nothing starts until it is enabled again; a job that it started goes on."""
    with transaction.atomic():
        schedule = _locked(schedule, by)
        if not schedule.enabled:
            raise Conflict(f"“{schedule}” is paused already, or over.")
        schedule.enabled = False
        _switch(schedule, by, "schedule.pause")
    return schedule


def enable(schedule: Schedule, by: Any) -> Schedule:
    """It goes on with its next planned time; those that passed meanwhile start nothing."""
    with transaction.atomic():
        schedule = _locked(schedule, by)
        if schedule.enabled:
            raise Conflict(f"“{schedule}” is enabled already.")
        if next(selectors.timing_of(schedule).after(timezone.now()), None) is None:
            raise Conflict(f"The time of “{schedule}” has passed; set another.")
        schedule.enabled = True
        schedule.settled_until = _settled(schedule, timezone.now())
        _switch(schedule, by, "schedule.enable")
    return schedule


def _switch(schedule: Schedule, by: Any, action: str) -> None:
    schedule.save(update_fields=["enabled", "settled_until"])
    alarms.put(schedule)
    audit.record(by, action, _target(schedule), name=schedule.name)


def remove(schedule: Schedule, by: Any) -> None:
    """The jobs that it started stay."""
    with transaction.atomic():
        schedule = _locked(schedule, by)
        audit.record(by, "schedule.remove", _target(schedule), name=schedule.name)
        alarms.remove(schedule.pk)
        schedule.delete()


def run_now(schedule: Schedule, by: Any) -> TrainingJob:
    """Start a job of it at once, besides the planned ones. It belongs to the schedule's owner."""
    with transaction.atomic():
        schedule = _locked(schedule, by)
        running = selectors.unfinished(schedule) if schedule.single_instance else None
        if running:
            raise Conflict(f"Job {running.pk} of this schedule has not ended, and it allows one at a time.")
        now = timezone.now()
        job = _job(schedule, now)
        audit.record(by, "schedule.run", _target(schedule), job=job.pk)
        _note(schedule, f"{by.get_username()} started job {job.pk} at {_clock(schedule, now)}.")
    return job


def run_all_due(now: datetime) -> None:
    """What the tick does: also for times whose alarm was lost. One that breaks stops no other."""
    for schedule in selectors.due(now)[:AT_ONCE]:
        try:
            run_due(schedule, now)
        except Exception:
            logger.exception("schedule %s could not be run", schedule.pk)


def run_due(schedule: Schedule, now: datetime) -> TrainingJob | None:
    """Deal with every planned time that has passed. Safe to repeat, and at the same time: one caller wins."""
    if not schedule.enabled or schedule.settled_until >= now:
        return None
    times = selectors.timing_of(schedule)
    since = schedule.settled_until
    last = times.latest(since, now)
    upcoming = next(times.after(now), None)
    with transaction.atomic():
        won = Schedule.objects.filter(pk=schedule.pk, enabled=True, settled_until=since).update(
            settled_until=upcoming - INSTANT if upcoming else now, enabled=upcoming is not None
        )
        if not won or last is None:
            return None
        schedule.refresh_from_db(fields=["settled_until", "enabled"])
        if not schedule.enabled:
            alarms.put(schedule)
        return _start(schedule, last, now)


def _start(schedule: Schedule, planned: datetime, now: datetime) -> TrainingJob | None:
    when = _clock(schedule, planned)
    if why_not := _why_not(schedule, planned, now):
        _skip(schedule, planned, f"Nothing started for {when}: {why_not}.")
        return None
    key = f"schedule-{schedule.pk}-{planned.isoformat()}"
    try:
        with transaction.atomic():
            job = _job(schedule, planned, key)
    except ConstellationError as exc:  # the catalogue may have changed since
        _skip(schedule, planned, f"Nothing started for {when}: {exc.message}")
        return None
    audit.record(None, "schedule.start", _target(schedule), job=job.pk, planned=planned.isoformat())
    _note(schedule, f"Started job {job.pk} for {when}.")
    return job


def _why_not(schedule: Schedule, planned: datetime, now: datetime) -> str:
    owner = schedule.owner
    if schedule.missed == Schedule.Missed.SKIP and planned <= now - FRESH:
        return "the platform noticed it too late, and the schedule skips what was missed"
    if not roles.may_submit(owner):
        return f"{owner.get_username()} may no longer create jobs"
    running = selectors.unfinished(schedule) if schedule.single_instance else None
    return f"its job {running.pk} has not ended" if running else ""


def _skip(schedule: Schedule, planned: datetime, outcome: str) -> None:
    audit.record(None, "schedule.skip", _target(schedule), planned=planned.isoformat(), outcome=outcome)
    _note(schedule, outcome)


def _job(schedule: Schedule, planned: datetime, key: str | None = None) -> TrainingJob:
    name = f"{schedule.name[:JOB_NAME].strip()} · {_clock(schedule, planned)}"
    job = jobs.create(schedule.owner, name, schedule.spec, submit=True, idempotency_key=key)
    TrainingJob.objects.filter(pk=job.pk).update(schedule=schedule)
    job.schedule = schedule
    return job


def _note(schedule: Schedule, outcome: str) -> None:
    schedule.last_outcome = outcome[:OUTCOME]
    schedule.save(update_fields=["last_outcome"])


def _clock(schedule: Schedule, moment: datetime) -> str:
    return f"{moment.astimezone(timing.zone(schedule.timezone)):%Y-%m-%d %H:%M}"


def _words(schedule: Schedule) -> str:
    return selectors.timing_of(schedule).words()


def _target(schedule: Schedule) -> str:
    return f"schedule:{schedule.pk}"


def _locked(schedule: Schedule, by: Any) -> Schedule:
    """As it is stored now, until the end of the transaction."""
    if not selectors.may_change(schedule, by):
        raise NotAllowed("Only the schedule's owner or an admin may do this.")
    rows = Schedule.objects.select_for_update(of=("self",)).select_related("owner")
    locked: Schedule | None = rows.filter(pk=schedule.pk).first()
    if locked is None:
        raise NotFound("Somebody has deleted this schedule.")
    return locked


def _set(schedule: Schedule, fields: dict[str, Any]) -> None:
    if unknown := fields.keys() - CHANGEABLE:
        raise ValueError(f"{unknown} are not fields of a schedule that people set")
    for name, value in fields.items():
        setattr(schedule, name, value)
    schedule.name = schedule.name.strip()
    if not 1 <= len(schedule.name) <= 120:
        raise InvalidInput(f"name has {len(schedule.name)} characters; allowed are 1 to 120.", field="name")
    _check_choice("kind", schedule.kind, Schedule.Kind)
    _check_choice("missed", schedule.missed, Schedule.Missed)
    if "spec" in fields or not schedule.pk:
        schedule.spec = spec.parse(schedule.spec).model_dump(mode="json")
    if schedule.kind == Schedule.Kind.ONCE:
        if schedule.at is None:
            raise InvalidInput("at is missing; a schedule of kind once needs its time.", field="at")
        schedule.at, schedule.cron = timing.once(schedule.at, schedule.timezone).at, ""
    else:
        schedule.cron, schedule.at = timing.cron(schedule.cron, schedule.timezone).text, None


def _check_choice(field: str, value: str, choices: Any) -> None:
    if value not in choices.values:
        raise InvalidInput(f"{field} is {value!r}; allowed are {', '.join(choices.values)}.", field=field)


def _settled(schedule: Schedule, now: datetime) -> datetime:
    """Just before the next planned time."""
    upcoming = next(selectors.timing_of(schedule).after(now), None)
    if upcoming is None:
        at = schedule.at or now
        raise InvalidInput(
            f"at is {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, which has passed; it must be later than now.",
            field="at",
        )
    return upcoming - INSTANT
