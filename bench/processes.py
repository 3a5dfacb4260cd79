"""Starting processes, waiting for them, and ending them and whatever they left behind, by pid."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from bench.sampler import Sampler

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PASSED_ON = ("HOME", "LANG", "TMPDIR")
END_SECONDS = 12.0


class Failed(Exception):
    """Something that was started did not do what it should."""


class Processes:
    """A group of processes under one sampler; leaving the context ends all of it."""

    def __init__(self, folder: Path, *, weigh: bool = False) -> None:
        self.sampler = Sampler(weigh=weigh)
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sampler.sample()
        # Clients first: they take leave of a server that is still there.
        for child in reversed(self._children.values()):
            child.terminate()
        deadline = time.monotonic() + END_SECONDS
        for child in self._children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.sampler.stop()
        for process in self.sampler.processes():
            # psutil compares the start time too, so a reused pid is safe.
            if process.is_running():
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue

    def start(self, name: str, role: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        with open(self._folder / f"{name}.log", "wb") as log:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[name] = child
        self.sampler.follow(role, child.pid)

    def wait_until(
        self, condition: Callable[[], bool], seconds: float, what: str, every: float = 0.05
    ) -> None:
        """Raises Failed when it takes too long or one of the processes ends meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            for name, child in self._children.items():
                if child.poll():
                    raise Failed(f"{name} ended with status {child.returncode}:\n{self.tail(name)}")
            if time.monotonic() > deadline:
                raise Failed(f"{what} took more than {seconds:.0f} s")
            time.sleep(every)

    def tree(self, name: str) -> list[psutil.Process]:
        """A process that was started and all below it, now."""
        root = psutil.Process(self._children[name].pid)
        return [root, *root.children(recursive=True)]

    def tail(self, name: str, lines: int = 15) -> str:
        text = (self._folder / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def environment(**more: str) -> dict[str, str]:
    """What every system starts with: one thread, no telemetry, this Python first."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        **kept,
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        **more,
    }


def free_ports(count: int) -> list[int]:
    """Ports that are free now; all are held at once, so that no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0
