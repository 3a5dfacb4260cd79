"""The thread of a web process that writes what devices said, also when no other sample comes to push it."""

import logging
import threading
from functools import partial

from django.db import close_old_connections, connection
from django.utils import timezone

from fl_server.services import signs, telemetry

logger = logging.getLogger(__name__)

END_SECONDS = 10.0


class Keeper:
    def __init__(self, seconds: float = signs.SECONDS) -> None:
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write all that is left, the minute under way too."""
        self._stop.set()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._write()
        self._write(everything=True)
        connection.close()

    def _write(self, *, everything: bool = False) -> None:
        close_old_connections()
        for flush in (signs.flush, partial(telemetry.flush, timezone.now(), everything=everything)):
            try:
                flush()
            except Exception:
                logger.exception("what devices said could not be written")
