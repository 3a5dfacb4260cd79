from types import SimpleNamespace

import psutil
import pytest

from fl_client.senses import heat
from fl_client.senses.sense import Unknown


def chip(**labels: float) -> list[SimpleNamespace]:
    return [SimpleNamespace(label=label, current=degrees) for label, degrees in labels.items()]


@pytest.mark.parametrize(
    ("chips", "expected"),
    [
        ({"coretemp": chip(package=71.0, core0=68.0, core1=73.0), "nvme": chip(Composite=80.0)}, 73.0),
        ({"acpitz": chip(a=27.8), "coretemp": chip(package=55.0)}, 55.0),
        ({"acpitz": chip(a=27.8, b=29.8)}, 29.8),
        ({"k10temp": chip(Tctl=95.0, Tdie=68.0)}, 68.0),
        ({"k10temp": chip(Tctl=61.0, Tccd1=58.0)}, 61.0),
        ({"cpu_thermal": chip(none=48.2)}, 48.2),
        # Sensors that are not wired.
        ({"coretemp": chip(package=0.0, core0=-273.0, core1=255.0), "acpitz": chip(a=40.0)}, 40.0),
        ({"nvme": chip(Composite=41.9), "iwlwifi_1": chip(a=45.0)}, None),
        ({}, None),
    ],
)
def test_the_hottest_sensible_sensor_of_the_processor_counts(chips, expected):
    assert heat.hottest(chips) == expected


def test_without_a_sensor_the_temperature_is_unknown(monkeypatch):
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {}, raising=False)
    with pytest.raises(Unknown, match="no sensor"):
        heat.read()


def test_a_system_without_the_function_is_unknown(monkeypatch):
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    with pytest.raises(Unknown, match="no temperatures"):
        heat.read()
