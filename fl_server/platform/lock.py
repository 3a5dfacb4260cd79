import fcntl
import os
from pathlib import Path
from types import TracebackType

from fl_server.platform.errors import PlatformError


class HomeLock:
    """One platform for each CONSTELLATION_HOME. The kernel lets go of it however the process ends."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / "up.lock"
        self._descriptor = -1

    def __enter__(self) -> "HomeLock":
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.read(descriptor, 20).decode().strip() or "unknown"
            os.close(descriptor)
            raise PlatformError(
                f"Constellation already runs in {self._home} (process {holder}); "
                "stop it first, or set CONSTELLATION_HOME to another folder."
            ) from exc
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._descriptor)
