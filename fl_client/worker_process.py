"""The agent's handle on its worker: a child process that may be killed at any moment."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil

from fl_client import frames
from fl_client.errors import FrameError
from fl_client.frames import Frame

log = logging.getLogger("constellation.session")

# The worker gets what training needs and no more; above all nothing that the agent keeps secret.
PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "SYSTEMROOT",
)
PASSED_PREFIXES = (
    "CONSTELLATION_DATA",
    "CONSTELLATION_CACHE",
    "CONSTELLATION_THREADS",
    "CONSTELLATION_DEVICE",
    "OMP_",
)


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith(PASSED_PREFIXES)}
    return {**inherited, **own}


class WorkerProcess:
    def __init__(
        self,
        on_frame: Callable[["WorkerProcess", Frame | None], None],
        variables: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "fl_client.worker"),
    ) -> None:
        """`on_frame` is called from another thread: with each frame, with None once the worker is gone.

        `variables` are added to the worker's environment.
        """
        self._on_frame = on_frame
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(variables or {}),
        )
        self._seen = psutil.Process(self._process.pid)
        threading.Thread(target=self._read, name="worker-frames", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while frame := frames.read(self._process.stdout):  # type: ignore[arg-type]
                self._on_frame(self, frame)
        except (FrameError, ValueError, OSError) as exc:
            log.warning("the worker's pipe broke: %s", exc)
        # Without its pipe it is of no use, and a child that nobody waits for stays a zombie.
        self._process.kill()
        self._process.wait()
        self._on_frame(self, None)

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Write a frame; a worker that is gone is reported by `on_frame`, not here."""
        assert self._process.stdin is not None
        with self._writing:
            try:
                frames.write(self._process.stdin, header, payload)  # type: ignore[arg-type]
            except (BrokenPipeError, ValueError):
                return

    def suspend(self) -> None:
        """Stop it where it is; it keeps its memory."""
        with suppress(psutil.Error):
            self._seen.suspend()

    def resume(self) -> None:
        with suppress(psutil.Error):
            self._seen.resume()

    def memory(self) -> int:
        """Bytes that it holds; 0 once it is gone."""
        try:
            return int(self._seen.memory_info().rss)
        except psutil.Error:
            return 0

    def kill(self) -> None:
        self._process.kill()

    def end(self, patience: float = 2.0) -> None:
        """Close its input, which ends it; kill it when it has not gone after `patience` seconds."""
        if not self._close_input(patience):
            self._process.kill()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(patience)

    def _close_input(self, patience: float) -> bool:
        """False when another thread is stuck in writing to a worker that does not read."""
        assert self._process.stdin is not None
        if not self._writing.acquire(timeout=patience):
            return False
        try:
            self._process.stdin.close()
        except OSError:
            log.debug("the worker was gone already")
        finally:
            self._writing.release()
        return True
