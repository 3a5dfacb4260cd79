from fl_client.policy.facts import Session
from fl_client.senses.dbus import Bus
from fl_client.senses.idle import mutter
from fl_client.senses.idle.mutter import Mutter
from fl_client.senses.idle.reading import Reading
from tests.client.senses import buses
from tests.client.senses.buses import needs_dbus_daemon

# Recorded from mutter 43.8: a 64-bit number of milliseconds.
ANSWERS = {(mutter.PATH, mutter.SERVICE, "GetIdletime"): ("t", 2169)}


def test_mutter_counts_in_milliseconds():
    assert mutter.reading(2169) == Reading(2.169, Session.ACTIVE)


@needs_dbus_daemon
def test_mutter_is_asked_over_the_bus(bus):
    asked = Mutter(Bus(lambda: bus))
    assert "does not exist" in asked.probe()
    with buses.service(bus, mutter.SERVICE, ANSWERS):
        assert asked.read() == Reading(2.169, Session.ACTIVE)
