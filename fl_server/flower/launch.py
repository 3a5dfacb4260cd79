"""Starting a run in the engine."""

import logging

from fl_server.exceptions import ConstellationError
from fl_server.flower import control
from fl_server.models import Run
from fl_server.services import runs

logger = logging.getLogger(__name__)


def start(run: Run) -> None:
    """Start the ServerApp of a run that was just taken for launching."""
    try:
        runs.attach_engine(run, control.start_run(run.pk, run.fence))
    except ConstellationError as exc:
        logger.warning("%s not launched: %s", run, exc)
        runs.fail(run, "launch-failed", exc.message)
