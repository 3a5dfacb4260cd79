from types import SimpleNamespace
from typing import Any

import pytest

from fl_client.senses import network
from fl_client.senses.dbus import PROPERTIES, Bus
from fl_client.senses.network import Network
from fl_client.senses.sense import Unknown
from tests.client.senses import buses
from tests.client.senses.buses import needs_dbus_daemon

MANAGER = network.MANAGER
ACTIVE = f"{MANAGER}.Connection.Active"
CONNECTION = f"{network.MANAGER_PATH}/ActiveConnection/1"
POINT = f"{network.MANAGER_PATH}/AccessPoint/17"

# As busctl shows them on a laptop: {(object, interface, property): (signature, value)}.
WIFI: dict[tuple[str, str, str], tuple[str, Any]] = {
    (network.MANAGER_PATH, MANAGER, "Metered"): ("u", 4),
    (network.MANAGER_PATH, MANAGER, "PrimaryConnection"): ("o", CONNECTION),
    (CONNECTION, ACTIVE, "Type"): ("s", "802-11-wireless"),
    (CONNECTION, ACTIVE, "Id"): ("s", "Office 1"),
    (CONNECTION, ACTIVE, "SpecificObject"): ("o", POINT),
    (POINT, f"{MANAGER}.AccessPoint", "Ssid"): ("ay", b"Office \xc3\xa9tage"),
}
CABLE = WIFI | {
    (CONNECTION, ACTIVE, "Type"): ("s", "802-3-ethernet"),
    (CONNECTION, ACTIVE, "Id"): ("s", "Wired connection 1"),
    (CONNECTION, ACTIVE, "SpecificObject"): ("o", "/"),
}
NOTHING = WIFI | {
    (network.MANAGER_PATH, MANAGER, "Metered"): ("u", 0),
    (network.MANAGER_PATH, MANAGER, "PrimaryConnection"): ("o", "/"),
}


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (WIFI, Network("wlan0", False, "Office étage")),
        (CABLE, Network("wlan0", False, "Wired connection 1")),
        (NOTHING, Network("wlan0", None, None)),
    ],
)
def test_network_manager_tells_name_and_price(recorded, expected):
    assert network.managed("wlan0", lambda *which: recorded[which][1]) == expected


@pytest.mark.parametrize(("value", "metered"), [(0, None), (1, True), (2, False), (3, True), (4, False)])
def test_a_guess_of_network_manager_counts(value, metered):
    recorded = WIFI | {(network.MANAGER_PATH, MANAGER, "Metered"): ("u", value)}
    assert network.managed("wlan0", lambda *which: recorded[which][1]).metered is metered


@needs_dbus_daemon
def test_network_manager_is_asked_over_the_bus(bus):
    answers = {
        (path, PROPERTIES, "Get", interface, name): ("v", value)
        for (path, interface, name), value in WIFI.items()
    }
    with buses.service(bus, MANAGER, answers):
        asked = Bus(lambda: bus)
        assert network.managed("wlan0", lambda *which: asked.get(MANAGER, *which)) == Network(
            "wlan0", False, "Office étage"
        )
        asked.close()


INTERFACES = {
    "lo": [SimpleNamespace(address="127.0.0.1")],
    "eth0": [SimpleNamespace(address="192.168.7.20"), SimpleNamespace(address="fe80::1%eth0")],
    "wlan0": [SimpleNamespace(address="2001:db8:7::20")],
}


@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("192.168.7.20", "eth0"),
        ("fe80::1", "eth0"),
        ("2001:db8:7::20", "wlan0"),
        ("10.0.0.1", None),
        (None, None),
    ],
)
def test_the_default_route_is_known_by_its_own_address(address, interface):
    assert network.interface_with(address, INTERFACES) == interface


NETSH = """
There is 1 interface on the system:

    Name                   : Wi-Fi
    Description            : Intel(R) Wi-Fi 6 AX201 160MHz
    State                  : connected
    SSID                   : Office: upstairs
    BSSID                  : 0a:1b:2c:3d:4e:5f
    Profile                : Office: upstairs
"""
NETSH_GERMAN = """
    Status                 : Verbunden
    SSID                   : Werk 2
    AP-BSSID               : 0a:1b:2c:3d:4e:5f
"""
NETSH_OFF = """
    State                  : disconnected
    Radio status           : Hardware On
"""


@pytest.mark.parametrize(
    ("said", "name"), [(NETSH, "Office: upstairs"), (NETSH_GERMAN, "Werk 2"), (NETSH_OFF, None), ("", None)]
)
def test_windows_names_the_wifi_in_any_language(said, name):
    assert network.wifi_name(said) == name


def test_without_a_route_nothing_is_known(monkeypatch):
    monkeypatch.setattr(network, "_own_address", lambda: None)
    with pytest.raises(Unknown, match="no route"):
        network.read(Bus(lambda: ""))


def test_without_network_manager_only_the_interface_is_known(monkeypatch):
    monkeypatch.setattr(network, "_own_address", lambda: "192.168.7.20")
    monkeypatch.setattr(network.psutil, "net_if_addrs", lambda: INTERFACES)
    assert network.read(Bus(lambda: "")) == Network("eth0")
