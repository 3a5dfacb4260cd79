"""Each ServerApp writes a log of its own, named by its run: several at once would overwrite a shared one."""

import logging
from pathlib import Path

from django.conf import settings

KEPT = 50


def begin(run_id: int, root: logging.Logger = logging.root) -> None:
    """From here on this process logs to its run's file. Those that were written to least recently go."""
    handler = logging.FileHandler(Path(settings.LOGS_DIR) / f"serverapp-{run_id}.log")
    for before in root.handlers[:]:
        handler.setFormatter(before.formatter)
        root.removeHandler(before)
        before.close()
    root.addHandler(handler)
    _forget_old()


def _forget_old() -> None:
    logs = {log: log.stat().st_mtime_ns for log in Path(settings.LOGS_DIR).glob("serverapp-*.log")}
    for log in sorted(logs, key=logs.__getitem__)[:-KEPT]:
        log.unlink(missing_ok=True)
