"""What is known about a machine at one moment. `None` always means: this machine cannot tell."""

from dataclasses import dataclass
from enum import StrEnum


class Session(StrEnum):
    """Who sits in front of the screen. A server without a screen has no session."""

    ACTIVE = "active"
    LOCKED = "locked"
    NONE = "none"


@dataclass(frozen=True)
class GpuFacts:
    """One GPU. Loads and memory of *other* programs: what our own worker uses is taken off."""

    index: int
    name: str
    total_bytes: int
    free_bytes: int
    load_by_others: float | None = None  # per cent
    memory_by_others_bytes: int | None = None
    temperature: float | None = None  # degrees Celsius


@dataclass(frozen=True)
class Facts:
    """One look at the machine. Loads are of *other* programs, in per cent of the whole machine."""

    input_idle_seconds: float | None = None  # since the last keyboard or mouse event
    session: Session | None = None
    on_ac: bool | None = None  # None where there is no battery, too
    battery_percent: float | None = None
    cpu_by_others: float | None = None
    cores: int = 1
    ram_total_bytes: int = 0
    ram_available_bytes: int = 0
    ram_by_us_bytes: int = 0
    gpus: tuple[GpuFacts, ...] = ()
    temperature: float | None = None  # of the processor, degrees Celsius
    network_metered: bool | None = None
    network_name: str | None = None
    programs: frozenset[str] = frozenset()  # names of running executables, lower case, without .exe
