"""The session's way to the engine: open while it is wanted, opened anew after a failure."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from fl_client.backoff import Backoff
from fl_client.exchange import Link
from fl_client.fleet import FleetError

log = logging.getLogger("constellation.session")

# A round waits for the device, but not for long. Seconds.
RETRY_FIRST, RETRY_MOST = 0.5, 4.0
HOPELESS = 15.0  # seconds to the next attempt after what cannot help soon


class Connection:
    def __init__(self, open_link: Callable[[], AbstractContextManager[Link]]) -> None:
        self._open_link = open_link
        self._context: AbstractContextManager[Link] | None = None
        self._backoff = Backoff(RETRY_FIRST, RETRY_MOST)
        self.link: Link | None = None
        self.retry_at: float | None = None

    def open(self) -> None:
        """Raises FleetError when the engine cannot be reached."""
        self.retry_at = None
        context = self._open_link()
        self.link = context.__enter__()
        self._context = context
        self._backoff.reset()

    def close(self) -> None:
        self.retry_at = None
        self._leave(None)

    def failed(self, error: FleetError) -> None:
        """Drop the link and say when to try again; what cannot help soon is tried seldom."""
        log.warning("%s", error)
        self._leave(error)
        delay = self._backoff.next() if error.retry else HOPELESS
        self.retry_at = time.monotonic() + delay

    def is_due(self) -> bool:
        return self.retry_at is not None and time.monotonic() >= self.retry_at

    def _leave(self, error: FleetError | None) -> None:
        context, self._context, self.link = self._context, None, None
        if context is None:
            return
        if error is None:
            context.__exit__(None, None, None)
        else:
            context.__exit__(type(error), error, error.__traceback__)
