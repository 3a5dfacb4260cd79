import os
import shutil
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from fl_server.platform import engine
from fl_server.platform.errors import PlatformError
from fl_server.platform.supervisor import Service

ENROL_SECONDS = 60.0
PASSED_ON = ("CONSTELLATION_DATA", "LANG", "HOME", "TMPDIR")


class DemoClient:
    """One employee's machine: the real client program with a home of its own."""

    def __init__(self, number: int, folder: Path) -> None:
        self.name = f"client-{number}"
        self._home = folder / self.name

    def is_enrolled(self) -> bool:
        """Whether an earlier demo's enrolment still holds."""
        return self._home.exists() and self._call("status").returncode == 0

    def enrol(self, code: str) -> None:
        """Join anew; what is left of an enrolment that no longer holds is forgotten."""
        shutil.rmtree(self._home, ignore_errors=True)
        done = self._call("enrol", code, "--name", self.name)
        if done.returncode != 0:
            raise PlatformError(
                f"{self.name} could not join (exit status {done.returncode}): {done.stderr.strip()}"
            )

    def service(self) -> Service:
        return Service(self.name, (*self._program(), "run"), self._environment(), str(settings.BASE_DIR))

    def _call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                [*self._program(), *arguments],
                env=self._environment(),
                cwd=settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ENROL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise PlatformError(
                f"{self.name} took more than {ENROL_SECONDS:.0f} s to {arguments[0]}."
            ) from exc

    def _program(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "fl_client")

    def _environment(self) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "PATH": engine.path_with_python(),
            "PYTHONUNBUFFERED": "1",
            "CONSTELLATION_CLIENT_HOME": str(self._home),
            # Three clients share this machine.
            "CONSTELLATION_THREADS": "1",
        }
