import socket
import time

import pytest

from fl_client.senses.dbus import PROPERTIES, Bus
from fl_client.senses.sense import Unknown
from tests.client.senses import buses
from tests.client.senses.buses import needs_dbus_daemon

NAME, PATH = "org.example.Shop", "/org/example/Shop"
ANSWERS = {
    (PATH, NAME, "Count"): ("u", 7),
    (PATH, NAME, "Double", 21): ("u", 42),
    (PATH, PROPERTIES, "Get", NAME, "Open"): ("v", ("b", True)),
    (PATH, PROPERTIES, "GetAll", NAME): ("a{sv}", {"Open": ("b", True), "Owner": ("(us)", (7, "Ann"))}),
}


@needs_dbus_daemon
def test_calls_and_properties_are_answered(bus):
    with buses.service(bus, NAME, ANSWERS):
        asked = Bus(lambda: bus)
        assert asked.call(NAME, PATH, NAME, "Count") == (7,)
        assert asked.call(NAME, PATH, NAME, "Double", "u", 21) == (42,)
        assert asked.get(NAME, PATH, NAME, "Open") is True
        assert asked.get_all(NAME, PATH, NAME) == {"Open": True, "Owner": (7, "Ann")}
        asked.close()


@needs_dbus_daemon
def test_an_error_is_told_in_words_and_costs_no_connection(bus):
    with buses.service(bus, NAME, ANSWERS):
        asked = Bus(lambda: bus)
        asked.call(NAME, PATH, NAME, "Count")
        connection = asked._connection
        with pytest.raises(Unknown, match=r"org\.example\.Shop answers: no such method"):
            asked.call(NAME, PATH, NAME, "Nothing")
        assert asked._connection is connection
        asked.close()


@needs_dbus_daemon
def test_a_service_that_is_not_there_is_unknown_and_is_not_started(bus):
    with pytest.raises(Unknown, match=r"does not exist|not provided"):
        Bus(lambda: bus).call("org.example.Absent", PATH, NAME, "Count")


@needs_dbus_daemon
def test_a_service_that_hangs_costs_the_deadline_and_not_more(bus):
    with buses.service(bus, NAME, ANSWERS, mute=True):
        asked = Bus(lambda: bus, seconds=0.2)
        started = time.monotonic()
        with pytest.raises(Unknown, match="cannot be asked"):
            asked.call(NAME, PATH, NAME, "Count")
        assert 0.15 < time.monotonic() - started < 2


def test_a_bus_that_hangs_costs_the_deadline_and_not_more(tmp_path):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "bus"))
        deaf.listen()
        started = time.monotonic()
        with pytest.raises(Unknown, match="cannot be asked"):
            Bus(lambda: f"unix:path={tmp_path / 'bus'}", seconds=0.2).call(NAME, PATH, NAME, "Count")
        assert 0.15 < time.monotonic() - started < 2


@needs_dbus_daemon
def test_a_bus_that_was_started_again_is_found_again(tmp_path):
    asked = Bus(lambda: f"unix:path={tmp_path / 'bus'}")
    with buses.bus_at(tmp_path / "bus") as first, buses.service(first, NAME, ANSWERS):
        assert asked.call(NAME, PATH, NAME, "Count") == (7,)
    with pytest.raises(Unknown):
        asked.call(NAME, PATH, NAME, "Count")
    (tmp_path / "bus").unlink(missing_ok=True)
    with buses.bus_at(tmp_path / "bus") as second, buses.service(second, NAME, ANSWERS):
        assert asked.call(NAME, PATH, NAME, "Count") == (7,)
    asked.close()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "no such bus"),
        ("unix:path=/nowhere/bus", "No such file"),
        ("tcp:host=127.0.0.1,port=1", "not supported"),
        ("nonsense", "cannot be asked"),
    ],
)
def test_a_bus_that_cannot_be_reached_is_unknown(address, says):
    with pytest.raises(Unknown, match=says):
        Bus(lambda: address).call(NAME, PATH, NAME, "Count")
