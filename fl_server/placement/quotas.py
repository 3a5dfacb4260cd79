"""What people and groups may hold at once, against what they hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limit:
    """Whose it is, whom it counts, and how much it allows; None is without bound."""

    whose: str
    members: frozenset[int]
    jobs: int | None = None
    devices: int | None = None


@dataclass(frozen=True)
class Room:
    """How many more devices a person may hold, how many ever, and why they are not enough."""

    devices: int | None = None
    ever: int | None = None
    may_start: bool = True
    reason: str = ""

    def allows(self, devices: int) -> bool:
        return self.may_start and (self.devices is None or devices <= self.devices)

    def never(self, devices: int) -> bool:
        """Whether so many are more than there could ever be."""
        return self.ever is not None and self.ever < devices


@dataclass
class Book:
    """Each limit with what is in use of it, kept up to date while jobs are placed."""

    limits: tuple[Limit, ...] = ()
    jobs: dict[int, int] = field(default_factory=dict)
    devices: dict[int, int] = field(default_factory=dict)

    def room(self, owner: int, needed: int) -> Room:
        """For a job of this person that needs so many devices: the strictest of the limits that count it."""
        least: int | None = None
        ever: int | None = None
        reason, may_start = "", True
        for limit in self.limits:
            if owner not in limit.members:
                continue
            running = _held(self.jobs, limit)
            if limit.jobs is not None and running >= limit.jobs:
                may_start = False
                reason = reason or f"Waits for {limit.whose}: {running} of {limit.jobs} jobs run already."
                ever = 0 if limit.jobs == 0 else ever
            if limit.devices is not None:
                held = _held(self.devices, limit)
                left = max(0, limit.devices - held)
                if left < needed:
                    reason = reason or (
                        f"Waits for {limit.whose}: {held} of {limit.devices} devices are in use, "
                        f"and it needs {needed}."
                    )
                least = left if least is None else min(least, left)
                ever = limit.devices if ever is None else min(ever, limit.devices)
        return Room(least, ever, may_start, reason)

    def take(self, owner: int, devices: int) -> None:
        self.jobs[owner] = self.jobs.get(owner, 0) + 1
        self.devices[owner] = self.devices.get(owner, 0) + devices


def _held(of_owners: Mapping[int, int], limit: Limit) -> int:
    return sum(of_owners.get(member, 0) for member in limit.members)
