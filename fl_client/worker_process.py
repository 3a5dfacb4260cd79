"""The agent's handle on its worker: a child process that may be killed at any moment."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from fl_client import frames
from fl_client.errors import FrameError
from fl_client.frames import Frame

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


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith(PASSED_PREFIXES)}


class WorkerProcess:
    def __init__(self, on_frame: Callable[["WorkerProcess", Frame | None], None]) -> None:
        """`on_frame` is called from a thread of its own: with each frame, and with None once the worker is gone."""
        self._on_frame = on_frame
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fl_client.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        threading.Thread(target=self._read, name="worker-frames", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while frame := frames.read(self._process.stdout):  # type: ignore[arg-type]
                self._on_frame(self, frame)
        except (FrameError, ValueError, OSError):
            self._process.kill()
        self._on_frame(self, None)

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Write a frame; a worker that is gone is reported by `on_frame`, not here."""
        assert self._process.stdin is not None
        with self._writing:
            try:
                frames.write(self._process.stdin, header, payload)  # type: ignore[arg-type]
            except (BrokenPipeError, ValueError):
                return

    def end(self, patience: float = 2.0) -> None:
        """Close its input, which ends it; kill it when it has not gone after `patience` seconds."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(patience)
