"""Which ServerApps are no longer there: the SuperExec that starts them leaves a file for each that ends.

The engine itself misses a ServerApp only once its heartbeats have been absent for most of a minute. Where
nobody left a file, because the SuperExec died too, the run's lease tells.
"""

import time
from contextlib import suppress
from pathlib import Path

FOLDER = "ended"
KEEP_SECONDS = 86_400


def note(home: Path, engine_run_id: str) -> None:
    """The process of this run has ended. `home` is the engine's folder."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    _forget_old(folder)
    (folder / engine_run_id).touch()


def noted(home: Path, engine_run_id: str) -> bool:
    return bool(engine_run_id) and (home / FOLDER / engine_run_id).exists()


def _forget_old(folder: Path) -> None:
    before = time.time() - KEEP_SECONDS
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
