"""Celery's entry points: ids in, one call, safe to run twice. The engine and torch load inside."""

import gc
import logging
from typing import Any

from celery import shared_task
from celery.signals import worker_process_init
from django.core.cache import cache
from django.utils import timezone

from fl_server.models import Checkpoint, Round, Run, Schedule
from fl_server.selectors import checkpoints
from fl_server.selectors import runs as selectors
from fl_server.services import (
    alerts,
    cleanup,
    deliveries,
    estimate_waits,
    estimates,
    learning,
    notifications,
    reminders,
    reputation,
    retention,
    runs,
    schedules,
    scheduling,
    substitution,
    supervision,
    telemetry,
)

logger = logging.getLogger(__name__)

# Longer than `deliveries.send_due` takes at worst, for a worker that dies while it sends.
DELIVERING, DELIVERY_SECONDS = "delivering", 120
# Longer than a tick takes, and short for one whose worker was killed.
TICKING, LOOK_AGAIN, TICK_SECONDS = "ticking", "look-again", 6
# Repetitions come with every tick; those that waited behind others are dropped. Seconds.
REPEATED_EXPIRE = 2.0


@shared_task
def tick() -> None:
    """Supervise, settle with the engine, start what may start.

    One at a time: two at once would each count what the other is just taking. Who comes meanwhile has the
    one that is at work look again.
    """
    if not cache.add(TICKING, 1, TICK_SECONDS):
        cache.set(LOOK_AGAIN, 1, TICK_SECONDS)
        return
    try:
        _tick()
    finally:
        cache.delete(TICKING)
        if cache.delete(LOOK_AGAIN):
            tick.apply_async(expires=REPEATED_EXPIRE)


def _tick() -> None:
    supervision.end_overdue()
    if active := supervision.anything_runs():
        supervision.check_runs()
        for newcomer in substitution.replace_lost():
            runs.announce(newcomer)
    estimate_waits.give_up()
    schedules.run_all_due(timezone.now())
    claimed = scheduling.claim_next()
    # Before anything that needs the queue, which may be down.
    for run in claimed:
        for reservation in selectors.active_reservations(run):
            runs.announce(reservation)
    for run in claimed:
        prepare_run.delay(run.pk)
        launch_run.delay(run.pk)
    if active or claimed:
        _repeat_for_runs()
    for wanted in estimate_waits.overdue():
        estimate_memory.apply_async([estimates.needs_of(wanted)], expires=REPEATED_EXPIRE)
    for checkpoint in supervision.unevaluated():
        evaluate_checkpoint.apply_async([checkpoint.pk], expires=REPEATED_EXPIRE)
    if supervision.engine_is_behind():
        settle_engine.delay()


def _repeat_for_runs() -> None:
    """What was lost on its way."""
    for reservation in supervision.unready():
        runs.announce(reservation)
    for run in supervision.unprepared():
        prepare_run.apply_async([run.pk], expires=REPEATED_EXPIRE)
    for run in supervision.unlaunched():
        launch_run.apply_async([run.pk], expires=REPEATED_EXPIRE)
    if supervision.unled().exists():
        end_stopped.delay()


@shared_task(expires=5.0)
def settle_engine() -> None:
    """Tell the engine of new and revoked devices and of ended runs."""
    from fl_server.flower import fleet

    fleet.settle()


@shared_task(expires=2.0)
def end_stopped() -> None:
    """Ask the engine about runs whose process has said nothing yet."""
    from fl_server.flower import launch

    launch.end_stopped()


@shared_task
def launch_run(run_id: int) -> None:
    """Start the run in the engine, once."""
    from fl_server.flower import launch

    run = Run.objects.select_related("job").get(pk=run_id)
    if runs.launched(run):
        launch.start(run)


# Acknowledged late, so that the worker holds one at a time and takes the next from the queue that goes first.
@shared_task(acks_late=True)
def prepare_run(run_id: int) -> None:
    """Make the first weights and deal the rows."""
    from fl_server import evaluation

    run = Run.objects.select_related("job").get(pk=run_id)
    if run.status in Run.ACTIVE and run.prepared_at is None:
        evaluation.prepare(run)


@shared_task(acks_late=True)
def evaluate_checkpoint(checkpoint_id: int) -> None:
    """Test a checkpoint on the dataset's test split."""
    from fl_server import evaluation

    checkpoint = Checkpoint.objects.select_related("job").filter(pk=checkpoint_id).first()
    if checkpoint and not checkpoints.is_overtaken(checkpoint) and not checkpoints.is_evaluated(checkpoint):
        evaluation.evaluate(checkpoint)


# Not an id: who asks for it in a dry run has no job yet.
@shared_task(acks_late=True)
def estimate_memory(needs: dict[str, Any]) -> None:
    """Find out how much memory a kind of training takes, once."""
    from fl_server import evaluation

    if not estimates.is_known(needs):
        evaluation.estimate(needs)


@shared_task
def learn_from_round(round_id: int) -> None:
    """What a round tells of its devices; which of its job's checkpoints may go now."""
    learning.learn_from_round(round_id)
    if done := Round.objects.filter(pk=round_id).first():
        reputation.after_round(done)
        retention.sweep(done.job_id, store=False)


@shared_task
def review_reputations() -> None:
    """Old faults fade, and those whose days in quarantine are over come back."""
    reputation.review()


@shared_task
def sweep_checkpoints() -> None:
    """Remove files that no rule keeps, and store those that may be in less space."""
    retention.sweep()
    retention.sweep_forgotten()


@shared_task
def make_room() -> None:
    """The disk is full: remove at once what may go."""
    retention.sweep(store=False)
    retention.sweep_forgotten()


@shared_task
def sample_availability() -> None:
    """Note which devices are free, for the hour of the week."""
    learning.sample_availability()


@shared_task
def run_schedule(schedule_id: int) -> None:
    """A planned time has come. The tick finds it too, should this message be lost."""
    schedule = Schedule.objects.select_related("owner").filter(pk=schedule_id).first()
    if schedule:
        schedules.run_due(schedule, timezone.now())


@shared_task
def clean_up_devices() -> None:
    """Warn of devices that stay away, and remove those that stayed away after it."""
    cleanup.sweep()


@shared_task(expires=30.0)
def deliver() -> None:
    """Send the mails and webhooks that are due. One at a time: the control worker has other things to do."""
    if cache.add(DELIVERING, 1, DELIVERY_SECONDS):
        try:
            deliveries.send_due()
        finally:
            cache.delete(DELIVERING)


@shared_task
def remind() -> None:
    """Tell of jobs that wait long and of devices that stay away; forget what was told long ago."""
    reminders.remind()
    notifications.forget()


@shared_task
def evaluate_alerts() -> None:
    """Begin and end the alerts on high use."""
    alerts.evaluate()


@shared_task
def thin_out_telemetry() -> None:
    """Make hours of minutes and drop what is too old."""
    telemetry.roll_up()
    telemetry.expire()


@worker_process_init.connect
def keep_what_is_loaded(sender: object = None, **_: object) -> None:
    """The garbage collector passes over what was loaded before the first task: a look at thousands of devices
    makes it look for garbage several times, and that took as long as the look itself."""
    gc.collect()
    gc.freeze()


@worker_process_init.connect
def warm_up(sender: object = None, **_: object) -> None:
    """Load torch before the first evaluation asks for it, in the process that will use it."""
    import os

    if os.environ.get("CONSTELLATION_WARM_EVALUATION"):
        from fl_server import evaluation

        evaluation.warm_up()
