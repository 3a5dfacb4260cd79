"""The network that the default route leads to, and whether its traffic is paid for."""

import platform
import socket
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from fl_client.senses.dbus import Bus
from fl_client.senses.sense import Unknown

# Addresses kept for documentation: the route to them is the default route. No packet is sent.
FAR_AWAY = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
MANAGER = "org.freedesktop.NetworkManager"
MANAGER_PATH = "/org/freedesktop/NetworkManager"
METERED = {1: True, 2: False, 3: True, 4: False}  # NMMetered: yes, no, guessed yes, guessed no; 0 is unknown
WIFI = "802-11-wireless"
NO_OBJECT = "/"
COMMAND_SECONDS = 2.0
CREATE_NO_WINDOW = 0x08000000


@dataclass(frozen=True)
class Network:
    interface: str | None = None
    metered: bool | None = None
    name: str | None = None  # of the Wi-Fi, else of the connection


class Address(Protocol):
    @property
    def address(self) -> str: ...


class Properties(Protocol):
    """NetworkManager's, or recorded ones."""

    def __call__(self, path: str, interface: str, name: str) -> Any: ...


def read(system_bus: Bus) -> Network:
    """Windows and macOS tell the price to no simple question, and macOS hides the name of the Wi-Fi."""
    interface = interface_with(_own_address(), psutil.net_if_addrs())
    if interface is None:
        raise Unknown("there is no route to other networks")
    if platform.system() == "Linux":
        try:
            return managed(interface, lambda *which: system_bus.get(MANAGER, *which))
        except Unknown:
            return Network(interface)
    if platform.system() == "Windows":
        return Network(interface, name=wifi_name(_netsh()))
    return Network(interface)


def interface_with(address: str | None, interfaces: Mapping[str, Iterable[Address]]) -> str | None:
    for name, addresses in interfaces.items():
        # An address of the link itself carries its interface's name after a per cent sign.
        if address is not None and any(each.address.partition("%")[0] == address for each in addresses):
            return name
    return None


def managed(interface: str, get: Properties) -> Network:
    """What NetworkManager says about the connection that holds the default route."""
    metered = METERED.get(get(MANAGER_PATH, MANAGER, "Metered"))
    connection = get(MANAGER_PATH, MANAGER, "PrimaryConnection")
    if connection == NO_OBJECT:
        return Network(interface, metered)
    active = f"{MANAGER}.Connection.Active"
    point = get(connection, active, "SpecificObject")
    if get(connection, active, "Type") == WIFI and point != NO_OBJECT:
        ssid = bytes(get(point, f"{MANAGER}.AccessPoint", "Ssid"))
        return Network(interface, metered, ssid.decode("utf-8", "replace"))
    return Network(interface, metered, str(get(connection, active, "Id")))


def wifi_name(netsh: str) -> str | None:
    """Out of `netsh wlan show interfaces`, whose word SSID is the same in every language."""
    for line in netsh.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "SSID" and value.strip():
            return value.strip()
    return None


def _own_address() -> str | None:
    for family, far in FAR_AWAY:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                sender.connect((far, 9))
                return str(sender.getsockname()[0])
        except OSError:
            continue
    return None


def _netsh() -> str:
    command = ("netsh", "wlan", "show", "interfaces")
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
            creationflags=CREATE_NO_WINDOW,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
