"""Process groups: what a supervised process and everything it started have in common."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import psutil

PR_SET_PDEATHSIG = 1
POLL = 0.05  # seconds
KILL_PATIENCE = 2.0  # seconds that the kernel may take to end a killed process

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _tied_to(parent: int) -> Callable[[], None]:
    """On Linux the kernel ends the child when its parent dies, even by SIGKILL."""

    def tie() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

    return tie


def spawn(
    command: Sequence[str], environment: Mapping[str, str], output: int, folder: str
) -> subprocess.Popen[bytes]:
    """Start `command` as the leader of a group of its own.

    Call it from a thread that lives as long as the process: the kernel's signal comes when that thread ends.
    """
    return subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=folder,
        start_new_session=True,
        preexec_fn=_tied_to(os.getpid()),
    )


def living(groups: Iterable[int]) -> set[int]:
    """Those of `groups` that still have a member. Zombies do not count: perhaps nobody ever reaps them."""
    candidates = {group for group in groups if _exists(group)}
    found: set[int] = set()
    if candidates:
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                group = os.getpgid(process.pid)
                if group in candidates - found and process.status() != psutil.STATUS_ZOMBIE:
                    found.add(group)
    return found


def end(groups: Iterable[int], patience: float) -> None:
    """Ask every group to end; kill what is left after `patience` seconds.

    Nothing cuts this short: it is what a stop leads to, and whatever it left would have no supervisor.
    """
    left = living(groups)
    asked: set[tuple[int, bool]] = set()
    deadline = time.monotonic() + patience
    while left and time.monotonic() < deadline:
        for group in left:
            # A leader that lives ends its own children in order; whatever it leaves behind is asked after it.
            step = (group, _leader_lives(group))
            if step not in asked:
                asked.add(step)
                _signal(group, signal.SIGTERM, whole=not step[1])
        time.sleep(POLL)
        left = living(left)
    for group in left:
        _signal(group, signal.SIGKILL, whole=True)
    deadline = time.monotonic() + KILL_PATIENCE
    while living(left) and time.monotonic() < deadline:
        time.sleep(POLL)


def _signal(group: int, number: signal.Signals, *, whole: bool) -> None:
    with suppress(ProcessLookupError, PermissionError):
        (os.killpg if whole else os.kill)(group, number)


def _leader_lives(group: int) -> bool:
    try:
        return psutil.Process(group).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError as exc:
        return isinstance(exc, PermissionError)
    return True
