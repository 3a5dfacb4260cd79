"""Writing a round's files on a disk that may be full for a while."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError

from fl_server import kick
from strategies.exceptions import DiskFull
from strategies.link import Stopped

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEADLINE = 60.0  # seconds
RETRY_EVERY = 2.0  # seconds


def is_full(error: Exception) -> bool:
    """Whether it is SQLite's way to say so; a database on the same disk has no room either."""
    return isinstance(error, OperationalError) and "disk is full" in str(error)


def write(files: Callable[[], T], stop: threading.Event) -> T:
    """Call `files` until there is room for them; DiskFull after a minute, Stopped when the run is.

    Until the files are written the round is not committed, so whoever goes on begins it again.
    """
    give_up = time.monotonic() + DEADLINE
    while True:
        try:
            return files()
        except DiskFull as exc:
            if time.monotonic() > give_up:
                raise
            logger.warning("not written, trying again: %s", exc)
            kick.make_room()
        if stop.wait(RETRY_EVERY):
            raise Stopped("the run was stopped")
