"""Waiting for what other threads and processes do."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(fact: Callable[[], T], what: str, seconds: float = 15.0, period: float = 0.02) -> T:
    """What `fact` gives as soon as it gives something; a failure says what did not come true."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := fact()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        pause.wait(period)
    return found
