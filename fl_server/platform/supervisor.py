import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fl_server.platform import groups
from fl_server.platform.logs import LogFile
from fl_server.platform.stopping import Stop
from fl_server.platform.watchdog import Watchdog

PERIOD = 0.1  # seconds between two looks at the children
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_AFTER = 60.0  # seconds alive after which the next failure counts as the first
STOP_PATIENCE = 10.0
LEFTOVER_PATIENCE = 1.0  # for what a dead child had started
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


@dataclass(frozen=True)
class Service:
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    foundation: bool = False  # the others need it to the end, so it is stopped after them


@dataclass
class Child:
    service: Service
    log: LogFile
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    delay: float = FIRST_DELAY
    group: int | None = None


class Supervisor:
    """Starts services, restarts what dies with growing delays, and ends all of it, grandchildren included.

    `start`, `tick`, `run` and `stop` belong to one thread, which must live as long as the process; any thread
    may call `add`.
    """

    def __init__(
        self,
        logs: Path,
        *,
        echo: IO[str] | None = None,
        warn: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logs = logs
        self._echo = echo
        self._warn = warn
        self._clock = clock
        self._children: dict[str, Child] = {}
        self._added: deque[Service] = deque()
        self._watchdog = Watchdog()

    def start(self, service: Service) -> None:
        log = LogFile(self._logs / f"{service.name}.log")
        log.rotate()
        child = self._children[service.name] = Child(service, log)
        self._spawn(child)

    def add(self, service: Service) -> None:
        """Start `service` at the next look."""
        self._added.append(service)

    def pid(self, name: str) -> int | None:
        process = self._children[name].process
        return process.pid if process else None

    def tail(self, name: str) -> list[str]:
        return LogFile(self._logs / f"{name}.log").tail()

    def tick(self) -> None:
        while self._added:
            self.start(self._added.popleft())
        for child in self._children.values():
            self._look_after(child)
            self._show(child)
            child.log.trim()

    def run(self, stop: Stop) -> None:
        while not stop.wait(PERIOD):
            self.tick()

    def once(self, service: Service, stop: Stop, patience: float) -> int:
        """Run `service` to its end without restarting it; its exit status, or -1 when it was ended."""
        log = LogFile(self._logs / f"{service.name}.log")
        log.rotate()
        child = Child(service, log)
        self._spawn(child)
        process, deadline = child.process, self._clock() + patience
        assert process is not None
        while (status := process.poll()) is None and self._clock() < deadline and not stop.wait(PERIOD):
            self._show(child)
        self._show(child)
        self._end([child], STOP_PATIENCE)
        return -1 if status is None else status

    def stop(self) -> None:
        """End every group; what the others need comes last."""
        everyone = list(self._children.values())
        self._end([child for child in everyone if not child.service.foundation], STOP_PATIENCE)
        self._end([child for child in everyone if child.service.foundation], STOP_PATIENCE)
        for child in everyone:
            self._show(child)
        self._watchdog.close()

    def _spawn(self, child: Child) -> None:
        output = child.log.open()
        try:
            child.process = groups.spawn(
                child.service.command, child.service.environment, output, child.service.folder
            )
        except OSError as exc:
            self._warn(f"{child.service.name} cannot be started: {exc}")
            self._postpone(child)
            return
        finally:
            os.close(output)
        child.started_at = self._clock()
        child.group = child.process.pid
        self._watchdog.add(child.process.pid)

    def _look_after(self, child: Child) -> None:
        now = self._clock()
        if child.process is None:
            if now >= child.due_at:
                self._spawn(child)
            return
        status = child.process.poll()
        if status is None:
            return
        self._end([child], LEFTOVER_PATIENCE)
        if now - child.started_at >= STEADY_AFTER:
            child.delay = FIRST_DELAY
        name, delay = child.service.name, child.delay
        self._warn(f"{name} ended with status {status}; it starts again in {delay:g} s ({child.log.path})")
        self._postpone(child)

    def _postpone(self, child: Child) -> None:
        child.process = None
        child.due_at = self._clock() + child.delay
        child.delay = min(child.delay * 2, LONGEST_DELAY)

    def _end(self, children: list[Child], patience: float) -> None:
        ending = {child.group for child in children if child.group is not None}
        groups.end(ending, patience)
        for child in children:
            if child.process is not None:
                child.process.poll()
            child.group = None
        for group in ending:
            self._watchdog.discard(group)

    def _show(self, child: Child) -> None:
        if self._echo is None:
            return
        place = list(self._children).index(child.service.name) if child.service.name in self._children else 0
        colour = COLOURS[place % len(COLOURS)]
        for line in child.log.fresh():
            print(f"\x1b[{colour}m{child.service.name:>10} │\x1b[0m {line}", file=self._echo, flush=True)
