"""Parsing of environment variables: every helper names the variable, the value and what is allowed."""

import ipaddress
import os
import tempfile
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from packaging.version import InvalidVersion, Version

# sockaddr_un holds 108 bytes on Linux and 104 on macOS.
LONGEST_SOCKET_PATH = 100


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool = False) -> bool:
    raw = text(name)
    if not raw:
        return default
    if raw.lower() in ("1", "true", "yes", "on"):
        return True
    if raw.lower() in ("0", "false", "no", "off"):
        return False
    raise ImproperlyConfigured(f"{name} is {raw!r}; allowed are 1, true, yes, on, 0, false, no, off.")


def number(name: str, default: float, low: float, high: float) -> float:
    raw = text(name)
    try:
        value = float(raw) if raw else default
    except ValueError as exc:
        raise ImproperlyConfigured(f"{name} is {raw!r}; it must be a number from {low} to {high}.") from exc
    if not low <= value <= high:
        raise ImproperlyConfigured(f"{name} is {value}; it must be a number from {low} to {high}.")
    return value


def integer(name: str, default: int, low: int, high: int) -> int:
    value = number(name, default, low, high)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} is {value}; it must be a whole number from {low} to {high}.")
    return int(value)


def version(name: str, default: str) -> str:
    raw = text(name, default)
    try:
        Version(raw)
    except InvalidVersion as exc:
        raise ImproperlyConfigured(f"{name} is {raw!r}; it must be a version, for example 0.1.0.") from exc
    return raw


def address(name: str, default: str) -> tuple[str, int]:
    """A `host:port` pair."""
    raw = text(name, default)
    host, _, port = raw.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ImproperlyConfigured(f"{name} is {raw!r}; it must be host:port, for example 127.0.0.1:8000.")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_any(host: str) -> bool:
    """Whether this address means every interface."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def reachable_host(bind_host: str, names: list[str]) -> str:
    """What others write to reach the server: where it listens, or its first name if that is everywhere."""
    named = [name for name in names if not name.startswith((".", "*"))]
    host = named[0] if named and is_any(bind_host) else bind_host
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def redis_socket(home: Path) -> Path:
    """Where the private Redis listens: below `home` unless that path is too long for a socket."""
    path = home / "redis" / "redis.sock"
    if len(str(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = sha256(str(home).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"constellation-{digest}" / "redis.sock"


def redis_urls(url: str, socket: Path) -> dict[str, str]:
    """The same Redis as its three users write it; `url` empty means the private one."""
    if not url:
        return {
            "broker": f"redis+socket://{socket}?virtual_host=0",
            "channels": f"unix://{socket}?db=0",
            "cache": f"unix://{socket}?db=1",
        }
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        raise ImproperlyConfigured(
            f"REDIS_URL starts with {parts.scheme!r}; it must be redis:// or rediss://."
        )
    return {"broker": url, "channels": url, "cache": url}
