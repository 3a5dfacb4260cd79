"""The whole platform on this machine: checked, started in order, kept running, ended without a trace."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from django.conf import settings

from fl_server.platform import engine, ports, procfile, redis, web
from fl_server.platform.errors import PlatformError
from fl_server.platform.lock import HomeLock
from fl_server.platform.stopping import Stop
from fl_server.platform.supervisor import PERIOD, Service, Supervisor

RELEASE = "release"
REDIS = "redis"
# These serve the others while those end.
FOUNDATIONS = frozenset({REDIS, "superlink"})
RELEASE_PATIENCE = 180.0  # seconds; the first migration on a slow disk takes a while
START_PATIENCE = 120.0


class Stopped(Exception):
    """Somebody asked to stop before everything was up."""


class Stack:
    def __init__(self, stop: Stop, *, echo: IO[str] | None = None) -> None:
        self._stop = stop
        self._echo = echo

    def run(self, on_ready: Callable[[Supervisor], None]) -> None:
        """Start all of it, call `on_ready`, and keep it running until `stop` is set. Raises PlatformError."""
        services = plan(procfile.read(settings.BASE_DIR / "Procfile"))
        with HomeLock(Path(settings.CONSTELLATION_HOME)):
            check_ports()
            supervisor = Supervisor(Path(settings.LOGS_DIR), echo=self._echo)
            try:
                self._start(supervisor, services)
                on_ready(supervisor)
                supervisor.run(self._stop)
            except Stopped:
                return
            finally:
                supervisor.stop()

    def _start(self, supervisor: Supervisor, services: dict[str, Service]) -> None:
        release = services.pop(RELEASE, None)
        if release and supervisor.once(release, self._stop, RELEASE_PATIENCE) != 0:
            if self._stop.is_set():
                raise Stopped
            raise _failure("The preparation of the database and the keys failed", RELEASE, supervisor)
        supervisor.start(services.pop(REDIS))
        if not settings.REDIS_URL:
            self._wait(supervisor, redis.answers, REDIS)
        for service in services.values():
            supervisor.start(service)
        self._wait(supervisor, web.answers, "web")
        self._wait(supervisor, lambda: ports.is_open("127.0.0.1", settings.ENGINE_PORT), "superlink")

    def _wait(self, supervisor: Supervisor, condition: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while not condition():
            if self._stop.wait(PERIOD):
                raise Stopped
            if time.monotonic() > deadline:
                sentence = f"The process {name} did not come up in {START_PATIENCE:.0f} s"
                raise _failure(sentence, name, supervisor)
            supervisor.tick()


def plan(commands: dict[str, list[str]]) -> dict[str, Service]:
    """The Procfile's lines as services that find this Python first."""
    environment = {**os.environ, "PATH": engine.path_with_python(), "PYTHONUNBUFFERED": "1"}
    missing = {REDIS, "web", "superlink"} - set(commands)
    if missing:
        raise PlatformError(f"The Procfile lacks {', '.join(sorted(missing))}.")
    return {
        name: Service(
            name,
            tuple(command),
            environment,
            str(settings.BASE_DIR),
            foundation=name in FOUNDATIONS,
        )
        for name, command in commands.items()
    }


def check_ports() -> None:
    """Raise one sentence when a port that we need is taken, before anything starts."""
    host, port = settings.BIND_HOST, settings.BIND_PORT
    ports.claimable(host, port, "CONSTELLATION_BIND", f"{host}:{port + 1}")
    engine_port = settings.ENGINE_PORT
    ports.claimable("127.0.0.1", engine_port, "CONSTELLATION_ENGINE_PORT", str(engine_port + 1))


def failure(sentence: str, name: str, lines: list[str]) -> PlatformError:
    """A sentence, the log to read, and its last lines."""
    log = Path(settings.LOGS_DIR) / f"{name}.log"
    return PlatformError("\n".join([f"{sentence}. Its log is {log}:", *(f"  {line}" for line in lines)]))


def _failure(sentence: str, name: str, supervisor: Supervisor) -> PlatformError:
    return failure(sentence, name, supervisor.tail(name))


def die(error: PlatformError) -> None:
    print(error, file=sys.stderr)
    raise SystemExit(1)
