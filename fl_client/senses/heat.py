"""How hot the processor is."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import psutil

from fl_client.senses.sense import Unknown

# The first of these that is there; all others (disks, Wi-Fi, batteries) say nothing about the processor.
CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")
# AMD's Tctl is the temperature that the fan is told, up to 27 degrees off; Tdie, where there is one, is the
# real one.
FOR_THE_FAN, REAL = "Tctl", "Tdie"
SENSIBLE = (5.0, 120.0)  # degrees Celsius; sensors that are not wired report 0, -273 or 255


class Thermometer(Protocol):
    @property
    def label(self) -> str: ...
    @property
    def current(self) -> float: ...


def read() -> float | None:
    sensors = getattr(psutil, "sensors_temperatures", None)
    if sensors is None:
        raise Unknown("this system tells no temperatures")
    temperature = hottest(sensors())
    if temperature is None:
        raise Unknown("no sensor of the processor was found")
    return temperature


def hottest(chips: Mapping[str, Iterable[Thermometer]]) -> float | None:
    for chip in CHIPS:
        thermometers = list(chips.get(chip, ()))
        if any(each.label == REAL for each in thermometers):
            thermometers = [each for each in thermometers if each.label != FOR_THE_FAN]
        readings = [each.current for each in thermometers if SENSIBLE[0] <= each.current <= SENSIBLE[1]]
        if readings:
            return max(readings)
    return None
