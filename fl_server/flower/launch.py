"""Starting a run in the engine, and seeing that it did start."""

import logging

from django.db.models import Q

from fl_server.exceptions import ConstellationError, EngineUnavailable
from fl_server.flower import control
from fl_server.models import Run
from fl_server.services import runs, supervision

logger = logging.getLogger(__name__)


def start(run: Run) -> None:
    """Start the ServerApp of a run that was just taken for launching."""
    try:
        runs.attach_engine(run, control.start_run(run.pk, run.fence))
    except EngineUnavailable as exc:
        logger.warning("%s not launched yet: %s", run, exc)
        runs.not_launched(run)
    except ConstellationError as exc:
        logger.warning("%s not launched: %s", run, exc)
        runs.fail(run, "launch-failed", exc.message)


def end_stopped() -> None:
    """A ServerApp that dies before its first line is noticed now, and not when the launch times out."""
    for run in supervision.unled():
        try:
            ended = control.has_ended(run.engine_run_id)
        except ConstellationError as exc:
            logger.info("%s cannot be looked up: %s", run, exc)
            continue
        if ended:
            runs.fail(
                run,
                "engine-stopped",
                "The process that should lead the run ended before it began.",
                only_if=Q(status=Run.Status.LAUNCHED),
            )
