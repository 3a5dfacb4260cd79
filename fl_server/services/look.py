"""One look at the queue: the jobs in their order, and what placing them takes, read when first asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.conf import settings

from fl_server import spec
from fl_server.exceptions import InvalidSpec
from fl_server.models import Run, TrainingJob
from fl_server.placement.facts import Demand, demand
from fl_server.placement.fleet import Fleet
from fl_server.placement.queue import Turn, effective_priority
from fl_server.placement.quotas import Book
from fl_server.selectors import placement as selectors
from fl_server.selectors import queue as queues
from fl_server.selectors import quotas

Status = TrainingJob.Status


@dataclass
class Entry:
    """A job that waits for its turn. After the look, either `run` or `waiting` says what became of it."""

    job: TrainingJob
    wanted: spec.JobSpec
    demand: Demand
    turn: Turn
    position: int = 0
    waiting: dict[str, Any] = field(default_factory=dict)
    run: Run | None = None

    @property
    def give_up_at(self) -> datetime | None:
        hours = self.wanted.waiting.give_up_hours
        return None if hours is None else self.turn.queued_since + timedelta(hours=hours)

    def has_given_up(self, now: datetime) -> bool:
        return self.give_up_at is not None and self.give_up_at <= now

    def needed(self, now: datetime) -> int:
        """Of a job that starts smaller once it has waited long enough, what a round needs at least."""
        if self.has_given_up(now) and self.wanted.waiting.then == "start-smaller":
            return self.wanted.participation.quorum or 1
        return self.demand.needed


class Look:
    def __init__(self, now: datetime, active: Sequence[TrainingJob]) -> None:
        self.now = now
        self.active = active
        self.running = [job for job in active if job.status == Status.RUNNING]
        self.broken: list[tuple[TrainingJob, InvalidSpec]] = []
        waiting = [job for job in active if job.status == Status.QUEUED]
        self.queue = self._in_order([job for job in waiting if not job.not_before or job.not_before <= now])

    @cached_property
    def paces(self) -> dict[int, queues.Pace]:
        return queues.paces(self.active)

    @cached_property
    def lent(self) -> dict[Any, int]:
        return selectors.working()

    @cached_property
    def fleet(self) -> Fleet:
        return Fleet(selectors.devices(self.lent))

    @cached_property
    def book(self) -> Book:
        return quotas.book({entry.job.owner_id for entry in self.queue})

    @cached_property
    def slots(self) -> int:
        """How many more runs may be active."""
        return max(0, settings.MAX_RUNS - Run.objects.filter(status__in=Run.ACTIVE).count())

    def started(self, entry: Entry, devices: Sequence[Any]) -> None:
        """A job of the queue got its run and these devices."""
        self.fleet.take(devices)
        self.book.take(entry.job.owner_id, len(devices))
        self.slots -= 1
        self.lent.update((device.pk, entry.job.pk) for device in devices)
        self.running.append(entry.job)

    def _in_order(self, waiting: list[TrainingJob]) -> list[Entry]:
        turns = queues.turns(waiting) if waiting else {}
        entries = [entry for job in waiting if (entry := self._entry(job, turns[job.pk]))]
        entries.sort(key=self._place)
        for position, entry in enumerate(entries, 1):
            entry.position = position
        return entries

    def _entry(self, job: TrainingJob, turn: Turn) -> Entry | None:
        try:
            wanted = spec.parse(job.spec)
        except InvalidSpec as exc:  # it was valid once; the catalogue has changed since
            self.broken.append((job, exc))
            return None
        seconds = self.paces[job.pk].seconds
        return Entry(job, wanted, demand(wanted, job.memory_bytes, seconds), turn)

    def _place(self, entry: Entry) -> tuple[float, datetime, int]:
        since = entry.turn.senior_since
        return -round(effective_priority(entry.job.priority, since, self.now), 6), since, entry.job.pk
