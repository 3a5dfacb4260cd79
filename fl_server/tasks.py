"""Celery's entry points: ids in, one call, safe to run twice. The engine and torch load inside."""

import logging

from celery import shared_task
from celery.signals import worker_process_init

from fl_server.models import Checkpoint, Run
from fl_server.selectors import checkpoints
from fl_server.selectors import runs as selectors
from fl_server.services import cleanup, runs, scheduling, supervision, telemetry

logger = logging.getLogger(__name__)

# Repetitions come with every tick; those that waited behind others are dropped. Seconds.
REPEATED_EXPIRE = 2.0


@shared_task
def tick() -> None:
    """Supervise, settle with the engine, start what may start."""
    supervision.check_runs()
    claimed = scheduling.claim_next()
    # Before anything that needs the queue, which may be down.
    for run in claimed:
        for reservation in selectors.active_reservations(run):
            runs.announce(reservation)
    for run in claimed:
        prepare_run.delay(run.pk)
        launch_run.delay(run.pk)
    _repeat_what_was_lost()
    if supervision.engine_is_behind():
        settle_engine.delay()
    if supervision.unled().exists():
        end_stopped.delay()


def _repeat_what_was_lost() -> None:
    for reservation in supervision.unready():
        runs.announce(reservation)
    for run in supervision.unprepared():
        prepare_run.apply_async([run.pk], expires=REPEATED_EXPIRE)
    for run in supervision.unlaunched():
        launch_run.apply_async([run.pk], expires=REPEATED_EXPIRE)
    for checkpoint in supervision.unevaluated():
        evaluate_checkpoint.apply_async([checkpoint.pk], expires=REPEATED_EXPIRE)


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
    if checkpoint and not checkpoints.is_overtaken(checkpoint):
        evaluation.evaluate(checkpoint)


@shared_task
def release_silent() -> None:
    """Give back reserved devices that have not been heard of."""
    cleanup.release_silent()


@shared_task
def clean_up_devices() -> None:
    """Warn of devices that stay away, and remove those that stayed away after it."""
    cleanup.sweep()


@shared_task
def thin_out_telemetry() -> None:
    """Make hours of minutes and drop what is too old."""
    telemetry.roll_up()
    telemetry.expire()


@worker_process_init.connect
def warm_up(sender: object = None, **_: object) -> None:
    """Load torch before the first evaluation asks for it, in the process that will use it."""
    import os

    if os.environ.get("CONSTELLATION_WARM_EVALUATION"):
        from fl_server import evaluation

        evaluation.warm_up()
