"""The thread that keeps a run's lease, and writes that outlast a database that is away for a minute."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections, connection

from fl_server.models import Run
from fl_server.services import runs

logger = logging.getLogger(__name__)

T = TypeVar("T")

EXTEND_EVERY = 2.0  # seconds
WRITE_DEADLINE = 60.0  # seconds
RETRY_EVERY = 1.0  # seconds


class Lease:
    """Extends the run's lease every two seconds and sets `stop` when it was taken away."""

    def __init__(self, run: Run, stop: threading.Event) -> None:
        self._run = run
        self._stop = stop
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._done.set()
        self._thread.join(EXTEND_EVERY)

    def _keep(self) -> None:
        try:
            self._extend_until_done()
        finally:
            connection.close()

    def _extend_until_done(self) -> None:
        while not self._done.wait(EXTEND_EVERY):
            close_old_connections()
            try:
                runs.extend_lease(self._run.pk, self._run.fence)
            except runs.Superseded:
                self._stop.set()
                return
            except (OperationalError, InterfaceError) as exc:
                logger.warning("lease not extended, trying again: %s", exc)


def persist(write: Callable[[], T]) -> T:
    """Run a transaction again until it goes through or a minute is over."""
    give_up = time.monotonic() + WRITE_DEADLINE
    pause = threading.Event()
    while True:
        close_old_connections()
        try:
            return write()
        except (OperationalError, InterfaceError) as exc:
            if _is_hopeless(exc) or time.monotonic() > give_up:
                raise
            logger.warning("not written, trying again: %s", exc)
            pause.wait(RETRY_EVERY)


def _is_hopeless(error: Exception) -> bool:
    """SQLite reports a table or column that is not there with the same class as a lock."""
    return str(error).startswith("no such")
