"""Why a machine does not train, for programs and in plain words for its owner."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Code(StrEnum):
    """In the order in which reasons are told: what the owner does, what the hours say, how the machine is."""

    PAUSED = "paused"
    IN_USE = "in-use"
    QUIET_TOO_SHORT = "quiet-too-short"
    PROGRAM_RUNNING = "program-running"
    OUTSIDE_HOURS = "outside-hours"
    HOURS_ENDING = "hours-ending"
    ON_BATTERY = "on-battery"
    BATTERY_LOW = "battery-low"
    METERED_NETWORK = "metered-network"
    NETWORK_DENIED = "network-denied"
    TOO_HOT = "too-hot"
    MEMORY_LOW = "memory-low"
    MEMORY_SHARE = "memory-share"
    CPU_BUSY = "cpu-busy"
    NO_NEW_WORK = "no-new-work"  # the only one with which training may go on


@dataclass(frozen=True)
class Reason:
    """The sentence may name the owner's programs and networks: it is for the owner, others get the code."""

    code: Code
    sentence: str
    until: datetime | None = None  # when it ends, where time alone ends it
