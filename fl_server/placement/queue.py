"""In which order jobs start, how long they wait, and when their turn comes.

Order: a job's priority plus `POINTS_AN_HOUR` for each hour in the queue. An urgent job (100) goes before one
without priority that has waited less than ten hours; after twenty hours a job of the lowest priority goes
before a new one of the highest. So nobody starves. A job whose run failed keeps the time it was submitted;
one that a person resumed begins anew.

A job that too few devices fit does not hold up those behind it, with one exception: once it has waited
`HOLD_AFTER` and the devices that other runs will give back are all that is missing, it holds those that fit
already, and lower jobs cannot take them. Runs end, so this ends too. What owners and networks keep away is
never waited for like that.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

POINTS_AN_HOUR = 10.0
HOLD_AFTER = timedelta(hours=1)
QUEUED = "queued"


@dataclass(frozen=True)
class Turn:
    """Since when a job counts as waiting: for its place, and for giving up."""

    senior_since: datetime
    queued_since: datetime


@dataclass(frozen=True)
class Move:
    """One row of a job's history."""

    status: str
    at: datetime
    by_run: bool


def turn(submitted: datetime, not_before: datetime | None, history: Iterable[Move]) -> Turn:
    """`history` in its order. Time before `not_before` is not waiting."""
    senior = queued = submitted
    status, by_run = "", False
    for move in history:
        if move.status == QUEUED and status != QUEUED:
            queued, by_run = move.at, move.by_run
            senior = senior if by_run else move.at
        status = move.status
    due = not_before or submitted
    return Turn(senior if by_run else max(senior, due), max(queued, due))


def effective_priority(priority: int, since: datetime, now: datetime) -> float:
    return priority + POINTS_AN_HOUR * max(0.0, (now - since).total_seconds() / 3600)


def may_hold(turn: Turn, now: datetime, needed: int, fit: int, working: int) -> bool:
    """Whether it keeps the fitting devices from lower jobs; `working` would fit, but works for other runs."""
    return now - turn.queued_since >= HOLD_AFTER and 0 < fit < needed <= fit + working


@dataclass(frozen=True)
class Ending:
    """A run that gives its devices back; None when nobody can tell when. The owner's quota is counted."""

    at: datetime | None
    devices: int
    owner: int = 0


@dataclass(frozen=True)
class Asked:
    """A queued job as the forecast sees it: `fit` devices fit now, `able` would if none of them worked.

    Of one that a quota holds, `not_before` is when runs end whose place it may take. At `until` a job ends.
    """

    pk: int
    needed: int
    selected: int
    fit: int
    able: int
    seconds: float | None = None
    not_before: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Forecast:
    start: datetime | None
    end: datetime | None


UNKNOWN = Forecast(None, None)


def forecast(
    now: datetime, free: int, slots: int, running: Sequence[Ending], queue: Sequence[Asked]
) -> dict[int, Forecast]:
    """When each job of the queue, in its order, starts and ends, as far as that can be told.

    Devices are counted, not told apart: each job takes what it wants of those that are free when enough are.
    A job that too few devices could take is unknown, and does not stand in the way of the others; one that
    waits for a quota does not, either, and is looked at after them.
    """
    endings: list[tuple[datetime, int]] = [(run.at, run.devices) for run in running if run.at is not None]
    heapq.heapify(endings)
    at, back, found = now, 0, {}
    for job in sorted(queue, key=lambda job: job.not_before or now):
        found[job.pk] = UNKNOWN
        if job.able < job.needed:
            continue
        due = job.not_before
        while endings and (
            (due and endings[0][0] <= due) or min(free, job.fit + back) < job.needed or slots < 1
        ):
            ended, devices = heapq.heappop(endings)
            at, free, back, slots = max(at, ended), free + devices, back + devices, slots + 1
        there = min(free, job.able, job.fit + back)
        if there < job.needed or slots < 1:
            continue
        at = max(at, due or now)
        if job.until is not None and job.until <= at:
            continue
        end = capped(None if job.seconds is None else at + timedelta(seconds=job.seconds), job.until)
        found[job.pk] = Forecast(at, end)
        taken = min(job.selected, there)
        free, slots = free - taken, slots - 1
        if end is not None:
            heapq.heappush(endings, (end, taken))
    return found


def capped(end: datetime | None, until: datetime | None) -> datetime | None:
    """A job that is not done by its deadline ends then."""
    return end if end is None or until is None else min(end, until)


def differs(before: datetime | None, after: datetime | None, now: datetime) -> bool:
    """Whether a forecast changed so much that people should see it: a minute, or a tenth of what is left."""
    if before is None or after is None:
        return before is not after
    left = abs((after - now).total_seconds())
    return abs((after - before).total_seconds()) > max(60.0, left / 10)
