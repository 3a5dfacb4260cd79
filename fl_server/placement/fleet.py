"""The devices during one look at the queue: who is free, who was taken meanwhile, and why the rest cannot."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fl_server.placement import matching
from fl_server.placement.facts import Demand, DeviceFacts

TAKEN = "works on another run"
HELD = "is kept for a job that has waited longer"


@dataclass(frozen=True)
class Capacity:
    """How many devices could take a job: now, once those that work are back, and at the very most."""

    fit: int
    working: int
    ever: int
    total: int


class Fleet:
    def __init__(self, devices: Sequence[DeviceFacts]) -> None:
        self.devices = devices
        self._busy = {one: reason for one in devices if (reason := matching.busy(one))}
        self._working = {one for one in devices if one.reserved}
        self._fitting: dict[Demand, list[DeviceFacts]] = {}
        self._ever: dict[Demand, frozenset[DeviceFacts]] = {}

    @property
    def free(self) -> int:
        return len(self.devices) - len(self._busy)

    @property
    def held(self) -> int:
        return sum(reason == HELD for reason in self._busy.values())

    def fitting(self, demand: Demand) -> list[DeviceFacts]:
        """The free devices that can take the job now."""
        if demand not in self._fitting:
            free = [one for one in self.devices if one not in self._busy]
            self._fitting[demand] = matching.fitting(free, demand)
        return self._fitting[demand]

    def capacity(self, demand: Demand) -> Capacity:
        ever = self._fitting_ever(demand)
        working = sum(one in ever for one in self._working)
        return Capacity(len(self.fitting(demand)), working, len(ever), len(self.devices))

    def take(self, devices: Iterable[DeviceFacts]) -> None:
        """They work for a job from now on."""
        taken = set(devices)
        self._working |= taken
        self._busy.update(dict.fromkeys(taken, TAKEN))
        self._fitting.clear()

    def hold(self, devices: Iterable[DeviceFacts]) -> None:
        """Keep them from the jobs that are looked at after this."""
        self._busy.update(dict.fromkeys(devices, HELD))
        self._fitting.clear()

    def working_of(self) -> dict[int, int]:
        """How many devices of each owner work."""
        found: dict[int, int] = {}
        for one in self._working:
            found[one.owner_id] = found.get(one.owner_id, 0) + 1
        return found

    def reasons(self, demand: Demand, most: int) -> tuple[dict[str, str], int]:
        """Why devices cannot take the job now: the first ones by name, and how many more there are."""
        named: dict[str, str] = {}
        for one in self.devices:
            if len(named) == most:
                break
            if reason := self._reason(one, demand):
                named[one.name if one.name not in named else f"{one.name} ({one.pk})"] = reason
        return named, len(self.devices) - len(self.fitting(demand)) - len(named)

    def missing(self, demand: Demand) -> tuple[str, int]:
        """The most frequent reason why devices could never take the job, and of how many."""
        found = matching.what_is_missing(self.devices, demand).most_common(1)
        return found[0] if found else ("", 0)

    def _reason(self, one: DeviceFacts, demand: Demand) -> str:
        return matching.lasting(one, demand) or self._busy.get(one, "") or matching.passing(one, demand)

    def _fitting_ever(self, demand: Demand) -> frozenset[Any]:
        if demand not in self._ever:
            able = (one for one in self.devices if matching.fits_ever(one, demand))
            self._ever[demand] = frozenset(able)
        return self._ever[demand]
