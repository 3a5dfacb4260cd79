"""Two values for every limit, so that a decision does not flap: one stops, a stricter one lets go on.

what                          stops training             lets it begin or go on
keyboard and mouse            any input                  quiet for idle_minutes, or for resume_minutes after a
                                                         short visit of the owner or with the screen locked
load and share limits         more than the limit        no more than 80 % of it
memory left free              less than the floor        at least 125 % of it
battery                       less than the floor        at least the floor plus 5 (at most 100 %)
temperature                   more than the limit        no more than the limit minus 5 °C

`presence` holds the first pair, `RESTART` the others.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Restart:
    factor: float = 1.0
    plus: float = 0.0


RESTART = {
    "other_cpu": Restart(factor=0.8),
    "other_gpu": Restart(factor=0.8),
    "ram_share": Restart(factor=0.8),
    "leave_ram_free_gb": Restart(factor=1.25),
    "battery_floor": Restart(plus=5),
    "max_temperature": Restart(plus=-5),
}


def in_force(name: str, limit: float, running: bool) -> float:
    """The limit that holds now: as written for what is running, stricter for what would begin."""
    return limit if running else limit * RESTART[name].factor + RESTART[name].plus


def of_two(in_use_limit: int | None, idle_limit: int | None, in_use: bool) -> int | None:
    """The limit of a pair. What limits an idle machine limits a used one, too: use never loosens."""
    given = [limit for limit in (in_use_limit if in_use else None, idle_limit) if limit is not None]
    return min(given, default=None)
