import os
import subprocess
from pathlib import Path

import pytest

from fl_client.senses import desktop
from fl_client.senses.desktop import Desktop
from tests.waiting import until


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def x_sockets(tmp_path: Path) -> Path:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "X0").touch()
    return folder


ON_X = {
    "DISPLAY": ":0.0",
    "XAUTHORITY": "/run/user/1000/gdm/Xauthority",
    "DBUS_SESSION_BUS_ADDRESS": "unix:b",
}


def pick(own, others, runtime, x_sockets):
    return desktop.pick(own, lambda: iter(others), runtime, x_sockets)


def test_the_own_environment_is_enough(runtime, x_sockets):
    found = pick(ON_X, [{"DISPLAY": ":9"}], runtime, x_sockets)
    assert found == Desktop(":0", ON_X["XAUTHORITY"], "", "unix:b")


def test_a_service_finds_the_desktop_in_the_environment_of_other_processes(runtime, x_sockets):
    (runtime / "wayland-0").touch()
    on_wayland = {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0", "DBUS_SESSION_BUS_ADDRESS": "unix:c"}
    found = pick({"PATH": "/bin"}, [{}, ON_X, on_wayland, {}, on_wayland], runtime, x_sockets)
    assert found == Desktop(":0", "", str(runtime / "wayland-0"), "unix:c"), "the most common one"


def test_a_display_of_another_machine_does_not_count(runtime, x_sockets):
    assert pick({"DISPLAY": "localhost:10.0"}, [], runtime, x_sockets).display == ""
    assert pick({"DISPLAY": "localhost:10.0"}, [ON_X], runtime, x_sockets).display == ":0"


def test_a_server_that_has_gone_does_not_count(runtime, x_sockets):
    gone = {"DISPLAY": ":5", "WAYLAND_DISPLAY": "wayland-5"}
    assert pick(gone, [gone], runtime, x_sockets) == Desktop()


def test_without_any_process_the_sockets_tell(runtime, x_sockets):
    for name in ("wayland-1", "wayland-1.lock", "bus"):
        (runtime / name).touch()
    found = pick({}, [], runtime, x_sockets)
    assert found == Desktop("", "", str(runtime / "wayland-1"), f"unix:path={runtime / 'bus'}")


def test_a_compositor_may_be_named_by_a_whole_path(runtime, x_sockets, tmp_path):
    (tmp_path / "elsewhere").touch()
    found = pick({"WAYLAND_DISPLAY": str(tmp_path / "elsewhere")}, [], runtime, x_sockets)
    assert found.wayland == str(tmp_path / "elsewhere")


def test_a_machine_without_a_desktop_has_none(tmp_path):
    assert pick({}, [], tmp_path / "missing", tmp_path / "none") == Desktop()


def test_the_environments_of_the_users_processes_can_be_read():
    with subprocess.Popen(
        ("sleep", "30"), env=os.environ | {"CONSTELLATION_TEST_DESKTOP": str(os.getpid())}
    ) as neighbour:
        # A program that has just started has no environment yet.
        until(
            lambda: (
                str(os.getpid()) in [env.get("CONSTELLATION_TEST_DESKTOP") for env in desktop.neighbours()]
            ),
            "the neighbour's environment",
        )
        neighbour.kill()
