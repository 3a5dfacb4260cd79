import pytest

from fl_client.policy.facts import Session
from fl_client.senses.dbus import Bus
from fl_client.senses.desktop import Desktop
from fl_client.senses.idle import freedesktop
from fl_client.senses.idle.freedesktop import Freedesktop
from fl_client.senses.idle.reading import Reading
from fl_client.senses.sense import Unknown
from tests.client.senses import buses
from tests.client.senses.buses import needs_dbus_daemon

KDE, GNOME, MATE = "org.freedesktop.ScreenSaver", "org.gnome.ScreenSaver", "org.mate.ScreenSaver"


def saver(name: str, active: bool, idle: int | None = None) -> dict[tuple[str, str, str], tuple[str, object]]:
    path = "/" + name.replace(".", "/")
    answers: dict[tuple[str, str, str], tuple[str, object]] = {(path, name, "GetActive"): ("b", active)}
    if idle is not None:
        answers[path, name, "GetSessionIdleTime"] = ("u", idle)
    return answers


@pytest.mark.parametrize(
    ("active", "idle", "unit", "expected"),
    [
        (False, 90_500, 0.001, Reading(90.5, Session.ACTIVE)),
        (True, 90_500, 0.001, Reading(90.5, Session.LOCKED)),
        (True, 600, 1.0, Reading(600.0, Session.LOCKED)),
        (False, None, 0.001, Reading(None, Session.ACTIVE)),
        (True, None, None, Reading(None, Session.LOCKED)),
    ],
)
def test_each_desktop_counts_in_its_own_unit(active, idle, unit, expected):
    assert freedesktop.reading(active, idle, unit) == expected


@needs_dbus_daemon
@pytest.mark.parametrize(
    ("name", "answers", "expected"),
    [
        (KDE, saver(KDE, False, 90_500), Reading(90.5, Session.ACTIVE)),
        (KDE, saver(KDE, True), Reading(None, Session.LOCKED)),
        (GNOME, saver(GNOME, True), Reading(None, Session.LOCKED)),
        (MATE, saver(MATE, False, 600), Reading(600.0, Session.ACTIVE)),
    ],
)
def test_the_saver_of_the_desktop_is_found_and_asked(bus, name, answers, expected):
    asked = Freedesktop(Bus(lambda: bus), Desktop)
    with buses.service(bus, name, answers):
        assert asked.read() == expected


@needs_dbus_daemon
def test_on_wayland_the_idle_time_is_not_believed(bus):
    with buses.service(bus, KDE, saver(KDE, False, 0)):
        asked = Freedesktop(Bus(lambda: bus), lambda: Desktop(wayland="/run/user/1000/wayland-0"))
        assert asked.read() == Reading(None, Session.ACTIVE)


@needs_dbus_daemon
def test_one_that_only_takes_requests_not_to_sleep_is_passed_over(bus):
    """GNOME owns the common name, too, but does not answer this there."""
    asked = Freedesktop(Bus(lambda: bus), Desktop)
    with buses.service(bus, KDE, {}), buses.service(bus, GNOME, saver(GNOME, True)):
        assert asked.read().session is Session.LOCKED


@needs_dbus_daemon
def test_after_a_change_of_desktop_the_new_saver_is_found(bus):
    asked = Freedesktop(Bus(lambda: bus), Desktop)
    with buses.service(bus, KDE, saver(KDE, False, 0)):
        asked.read()
    with buses.service(bus, MATE, saver(MATE, True, 60)):
        with pytest.raises(Unknown, match="no screen saver"):
            asked.read()
        assert asked.read() == Reading(60.0, Session.LOCKED)
