from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fl_client.senses import power
from fl_client.senses.power import Power
from fl_client.senses.sense import Unknown


def supplies(folder: Path, **files: dict[str, str]) -> list[Path]:
    for name, texts in files.items():
        (folder / name).mkdir()
        for file, text in texts.items():
            (folder / name / file).write_text(text + "\n")
    return sorted(folder.iterdir())


LAPTOP = {"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "capacity": "80"}}
MOUSE = {"hidpp_battery_0": {"type": "Battery", "scope": "Device", "capacity": "55"}}


@pytest.mark.parametrize(
    ("files", "battery"),
    [(LAPTOP, True), (LAPTOP | MOUSE, True), (MOUSE, False), ({"AC": {"type": "Mains"}}, False), ({}, False)],
)
def test_the_battery_of_a_mouse_is_not_the_machines(tmp_path, files, battery):
    assert power.has_own_battery(supplies(tmp_path, **files)) is battery


@pytest.mark.parametrize(
    ("sensor", "expected"),
    [
        (SimpleNamespace(percent=81.5, power_plugged=True), Power(True, 81.5)),
        (SimpleNamespace(percent=15, power_plugged=False), Power(False, 15)),
        (SimpleNamespace(percent=80, power_plugged=None), Power(None, 80)),
    ],
)
def test_what_the_system_says_of_the_battery_is_taken_over(monkeypatch, tmp_path, sensor, expected):
    monkeypatch.setattr(power, "SUPPLIES", tmp_path / "not Linux")
    monkeypatch.setattr(psutil, "sensors_battery", lambda: sensor, raising=False)
    assert power.read() == expected


def test_without_a_battery_the_supply_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(power, "SUPPLIES", tmp_path / "not Linux")
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    with pytest.raises(Unknown, match="no battery"):
        power.read()


def test_a_desktop_with_a_wireless_mouse_has_no_battery(monkeypatch, tmp_path):
    supplies(tmp_path, **MOUSE)
    monkeypatch.setattr(power, "SUPPLIES", tmp_path)
    with pytest.raises(Unknown, match="no battery"):
        power.read()
