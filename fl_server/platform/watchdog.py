"""`python -m fl_server.platform.watchdog`: ends every group it was told of once its supervisor is gone.

The supervisor holds the other end of standard input, writes each group's number (negative: that group has
ended), and closes it by dying, whatever killed it. The kernel's own signal reaches only direct children; this
reaches theirs too.
"""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from fl_server.platform import groups

PATIENCE = 5.0  # seconds


class Watchdog:
    """The supervisor's side."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fl_server.platform.watchdog"],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        self._write(group)

    def discard(self, group: int) -> None:
        self._write(-group)

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(PATIENCE + groups.KILL_PATIENCE + 2.0)

    def _write(self, number: int) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{number}\n".encode())
            self._process.stdin.flush()


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            watched.add(number)
        else:
            watched.discard(-number)
    groups.end(watched, PATIENCE)


if __name__ == "__main__":
    main()
