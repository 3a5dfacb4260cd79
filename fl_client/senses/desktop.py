"""Where this user's desktop can be reached.

A client that runs as a service has no DISPLAY in its environment. Then the user's other processes tell, which
were started from the desktop, and the sockets in /run/user/UID.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

X_SOCKETS = Path("/tmp/.X11-unix")  # noqa: S108
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Desktop:
    """Empty fields: there is none, or it cannot be found."""

    display: str = ""  # of a local X server, such as ":0"
    xauthority: str = ""
    wayland: str = ""  # path of the compositor's socket
    session_bus: str = ""  # D-Bus address


def find() -> Desktop:
    return pick(os.environ, neighbours, _runtime_folder(os.environ))


def pick(
    own: Environment, others: Callable[[], Iterator[Environment]], runtime: Path, x_sockets: Path = X_SOCKETS
) -> Desktop:
    """The own environment where it knows a screen, else the most common one among the user's processes."""
    screen = _screen(own, runtime, x_sockets)
    bus = own.get("DBUS_SESSION_BUS_ADDRESS", "")
    if not any(screen):
        seen = Counter(
            (_screen(env, runtime, x_sockets), env.get("DBUS_SESSION_BUS_ADDRESS", "")) for env in others()
        )
        screens = [both for both, _ in seen.most_common() if any(both[0])]
        if screens:
            screen, neighbours_bus = screens[0]
            bus = bus or neighbours_bus
        else:
            screen = ("", "", _first_wayland(runtime))
    if not bus and (runtime / "bus").exists():
        bus = f"unix:path={runtime / 'bus'}"
    return Desktop(*screen, session_bus=bus)


def neighbours() -> Iterator[Environment]:
    """The environments of the other processes of this user."""
    uid = os.getuid()
    for process in psutil.process_iter():
        try:
            if process.uids().real == uid and process.pid != os.getpid():
                yield process.environ()
        except (psutil.Error, OSError):
            continue


def _screen(env: Environment, runtime: Path, x_sockets: Path) -> tuple[str, str, str]:
    """Display, authority file and Wayland socket that `env` names, as far as they are this machine's."""
    display = env.get("DISPLAY", "").partition(".")[0]
    if not (x_sockets / f"X{display[1:]}").exists():
        # Forwarded by ssh, say: that is the keyboard of another machine.
        display = ""
    wayland = env.get("WAYLAND_DISPLAY", "")
    # An absolute path stands for itself.
    socket = runtime / wayland if wayland else None
    return display, env.get("XAUTHORITY", "") if display else "", _existing(socket)


def _first_wayland(runtime: Path) -> str:
    sockets = sorted(path for path in runtime.glob("wayland-*") if path.suffix != ".lock")
    return _existing(sockets[0]) if sockets else ""


def _existing(path: Path | None) -> str:
    return str(path) if path is not None and path.exists() else ""


def _runtime_folder(env: Environment) -> Path:
    return Path(env.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
