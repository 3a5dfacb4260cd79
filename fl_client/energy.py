"""Energy that training took, where the machine measures it; elsewhere it is unknown, never a guess."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fl_client import hardware

RAPL = Path("/sys/class/powercap")
JOULES_A_WATT_HOUR = 3600.0


def packages(root: Path = RAPL) -> list["Counter"]:
    """The processor's packages, where this user may read their counters."""
    found = []
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            # Sub-domains (intel-rapl:0:0) are counted in their package already.
            if folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package"):
                span = int((folder / "max_energy_range_uj").read_text()) / 1e6
                found.append(Counter(partial(_microjoules, folder / "energy_uj"), span))
        except (OSError, ValueError):
            continue
    return found


def gpu_counters(indexes: tuple[int, ...]) -> list["Counter"]:
    """The GPUs' own counters; older ones have none."""
    nvml = hardware.nvml()
    found = []
    for index in indexes if nvml is not None else ():
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found.append(Counter(partial(_millijoules, nvml, handle)))
        except nvml.NVMLError:
            continue
    return found


def _microjoules(file: Path) -> float:
    return int(file.read_text()) / 1e6


def _millijoules(nvml: Any, handle: Any) -> float:
    return int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3


class Counter:
    """A counter of joules that only grows, and begins anew at `span`."""

    def __init__(self, read: Callable[[], float], span: float | None = None) -> None:
        self._read, self._span = read, span
        self._last = read()

    def advance(self) -> float:
        """Joules since the last call."""
        now = self._read()
        grown, self._last = now - self._last, now
        return grown + self._span if grown < 0 and self._span else max(0.0, grown)


class Meter:
    """Adds up what is used between `start` and `stop`, over any number of stretches."""

    def __init__(self, counters: list[Counter]) -> None:
        self._counters = counters
        self._joules = 0.0
        self._on = False

    def start(self) -> None:
        if not self._on:
            self._on = True
            self._advance()

    def stop(self) -> None:
        if self._on:
            self._joules += self._advance()
            self._on = False

    @property
    def watt_hours(self) -> float | None:
        return self._joules / JOULES_A_WATT_HOUR if self._counters else None

    def _advance(self) -> float:
        try:
            return sum(counter.advance() for counter in self._counters)
        except Exception:
            # A driver that went away says so in its own ways; half a sum would be a guess.
            self._counters = []
            return 0.0


def meter(gpus: tuple[int, ...] | None) -> Meter:
    """Of the processor's packages and of the GPUs that were lent."""
    return Meter([*packages(), *gpu_counters(gpus or ())])
