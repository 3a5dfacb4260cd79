"""Whether a TCP port is free, and whether something answers on it."""

import errno
import socket

from fl_server.platform.errors import PlatformError


def claimable(host: str, port: int, variable: str, example: str) -> None:
    """Raise one sentence unless a server could listen on `host:port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            why = {
                errno.EADDRINUSE: "is used by another program",
                errno.EACCES: "may only be used by root",
                errno.EADDRNOTAVAIL: "is not an address of this machine",
            }.get(exc.errno or 0, f"cannot be used ({exc.strerror or exc})")
            raise PlatformError(
                f"Port {port} on {host} {why}; set {variable} to another, for example {variable}={example}."
            ) from exc


def is_open(host: str, port: int, patience: float = 0.5) -> bool:
    try:
        with socket.create_connection((host, port), timeout=patience):
            return True
    except OSError:
        return False


def free(host: str = "127.0.0.1") -> int:
    """A port that is free right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
