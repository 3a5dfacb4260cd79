"""What people and groups may hold at once, against what they hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fl_server.placement.queue import Ending


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
                reason = reason or f"Waits for {limit.whose}: {_jobs(running, limit.jobs)}."
                ever = 0 if limit.jobs == 0 else ever
            if limit.devices is not None:
                held = _held(self.devices, limit)
                left = max(0, limit.devices - held)
                if left < needed:
                    reason = reason or (
                        f"Waits for {limit.whose}: {_devices(held, limit.devices)}, and it needs {needed}."
                    )
                least = left if least is None else min(least, left)
                ever = limit.devices if ever is None else min(ever, limit.devices)
        return Room(least, ever, may_start, reason)

    def opens(self, owner: int, needed: int, endings: Iterable[Ending]) -> datetime | None:
        """When enough of these runs have ended for a job like that; None when that cannot be told."""
        then = Book(self.limits, dict(self.jobs), dict(self.devices))
        known = ((run.at, run) for run in endings if run.at is not None)
        for at, run in sorted(known, key=lambda pair: pair[0]):
            then.jobs[run.owner] = max(0, then.jobs.get(run.owner, 0) - 1)
            then.devices[run.owner] = max(0, then.devices.get(run.owner, 0) - run.devices)
            if then.room(owner, needed).allows(needed):
                return at
        return None

    def take(self, owner: int, devices: int) -> None:
        self.jobs[owner] = self.jobs.get(owner, 0) + 1
        self.devices[owner] = self.devices.get(owner, 0) + devices


def _held(of_owners: Mapping[int, int], limit: Limit) -> int:
    return sum(of_owners.get(member, 0) for member in limit.members)


def _jobs(running: int, most: int) -> str:
    if most == 0:
        return "it allows no jobs"
    return f"1 of {most} job runs already" if running == 1 else f"{running} of {most} jobs run already"


def _devices(held: int, most: int) -> str:
    noun = "device" if most == 1 else "devices"
    return f"{held} of {most} {noun} {'is' if held == 1 else 'are'} in use"
