import os
import select
import signal


class Stop:
    """An event that a signal handler may set.

    A threading.Event may not: its lock is perhaps held by the very code that the signal interrupts. A pipe
    that became readable stays so, for every thread that looks.
    """

    def __init__(self) -> None:
        self._readable, self._writable = os.pipe()

    def set(self) -> None:
        os.write(self._writable, b".")

    def is_set(self) -> bool:
        return self.wait(0.0)

    def wait(self, seconds: float) -> bool:
        """Whether it is set, after at most so long."""
        ready, _, _ = select.select([self._readable], [], [], seconds)
        return bool(ready)


def on_signals() -> Stop:
    """Set by SIGINT, SIGTERM and SIGHUP."""
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop
