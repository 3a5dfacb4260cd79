"""The engine and the web process in front of it as the Procfile starts them, without a supervisor."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fl_server.platform import groups, ports

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
END_SECONDS = 10.0


@dataclass(frozen=True)
class Started:
    """The ports on the loopback address."""

    web: int
    engine: int


def manage(*arguments: str, **settings: str) -> None:
    """One command of the server's, to its end."""
    command = [sys.executable, "manage.py", *arguments]
    environment = {**os.environ, **settings}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=START_SECONDS)


@contextmanager
def started(log: Path, *names: str, **settings: str) -> Iterator[Started]:
    """`manage.py NAME` for each name; the SuperLink and web must be among them."""
    at = Started(web=ports.free(), engine=ports.free())
    environment = {
        **os.environ,
        "CONSTELLATION_BIND": f"127.0.0.1:{at.web}",
        "CONSTELLATION_ENGINE_PORT": str(at.engine),
        **settings,
    }
    with log.open("wb") as output:
        processes = [
            subprocess.Popen(
                [sys.executable, "manage.py", name],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            for name in names
        ]
        try:
            _wait(at, log)
            yield at
        finally:
            groups.end({process.pid for process in processes}, END_SECONDS)
            for process in processes:
                process.wait(5)


def _wait(at: Started, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    pause = threading.Event()
    while not all(ports.is_open("127.0.0.1", port) for port in (at.web, at.engine)):
        assert time.monotonic() < deadline, log.read_text()
        pause.wait(0.1)
