"""What would become of a job that nobody has submitted yet. Reads only; what it says holds at this moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from fl_server import spec
from fl_server.exceptions import InvalidSpec
from fl_server.models import Run, TrainingJob
from fl_server.placement import matching, queue
from fl_server.placement.facts import Demand, DeviceFacts, demand
from fl_server.placement.fleet import Capacity, Fleet
from fl_server.selectors import placement, quotas
from fl_server.selectors import queue as queues

NAMES = 3
NEW = 0  # what the forecast calls the job that does not exist yet


@dataclass(frozen=True)
class Reason:
    """Why some devices would not take part. One that lasts stays as long as the machine is as it is."""

    reason: str
    lasting: bool
    devices: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class DryRun:
    sentence: str
    starts: str
    """now, later or never"""
    needed: int
    selected: int
    fit: int
    fit_now: int
    devices: int
    reasons: tuple[Reason, ...]
    memory_bytes: int | None
    memory: str
    """given, estimated or unknown"""
    position: int
    expected_start: datetime | None
    expected_seconds: float | None

    @property
    def expected_end(self) -> datetime | None:
        if self.expected_start is None or self.expected_seconds is None:
            return None
        return self.expected_start + timedelta(seconds=self.expected_seconds)


def of(owner_id: int, wanted: spec.JobSpec, memory: int | None, now: datetime | None = None) -> DryRun:
    """For a job that this person would submit now. `memory` is what it takes on a device, None if unknown."""
    now = now or timezone.now()
    active = queues.active()
    lent = placement.working()
    fleet = Fleet(placement.devices(lent))
    seconds = queues.similar_seconds().get((wanted.model.name, wanted.dataset.name))
    asks = demand(wanted, memory, seconds)
    book = quotas.book({owner_id})
    room = book.room(owner_id, asks.needed)
    capacity = fleet.capacity(asks)
    ahead, running = _ahead(active, wanted.priority, now), _of_status(active, TrainingJob.Status.RUNNING)
    lasts = queues.Pace(seconds=seconds).left(wanted.rounds, wanted.stopping.deadline_hours)
    held = list(lent.values())
    endings = [queue.Ending(job.expected_end, held.count(job.pk), job.owner_id) for job in running]
    allowed = room.allows(asks.needed)
    opens = None if allowed else book.opens(owner_id, asks.needed, endings)
    able = capacity.fit + capacity.working if allowed or opens else 0
    me = queue.Asked(NEW, asks.needed, asks.selected, capacity.fit, able, seconds=lasts, not_before=opens)
    slots = max(0, settings.MAX_RUNS - Run.objects.filter(status__in=Run.ACTIVE).count())
    found = queue.forecast(now, fleet.free, slots, endings, [*_asked(fleet, ahead), me])[NEW]
    never = capacity.ever < asks.needed or room.never(asks.needed)
    starts = "never" if never else "now" if found.start == now else "later"
    return DryRun(
        sentence=_sentence(asks, capacity, starts, room.reason, len(ahead), slots),
        starts=starts,
        needed=asks.needed,
        selected=asks.selected,
        fit=capacity.ever,
        fit_now=capacity.fit,
        devices=capacity.total,
        reasons=_reasons(fleet.devices, asks),
        memory_bytes=memory,
        memory=_source(wanted, memory),
        position=len(ahead) + 1,
        expected_start=found.start,
        expected_seconds=lasts,
    )


def _source(wanted: spec.JobSpec, memory: int | None) -> str:
    if wanted.requirements.memory_gb is not None:
        return "given"
    return "unknown" if memory is None else "estimated"


def _of_status(jobs: Iterable[TrainingJob], status: str) -> list[TrainingJob]:
    return [job for job in jobs if job.status == status]


def _ahead(active: Iterable[TrainingJob], priority: int, now: datetime) -> list[TrainingJob]:
    """The jobs of the queue that go before a new one of this priority, in their order."""
    waiting = _of_status(active, TrainingJob.Status.QUEUED)
    due = [job for job in waiting if job.not_before is None or job.not_before <= now]
    turns = queues.turns(due)
    worth = {job.pk: queue.effective_priority(job.priority, turns[job.pk].senior_since, now) for job in due}
    before = [job for job in due if worth[job.pk] >= priority]
    return sorted(before, key=lambda job: (-worth[job.pk], turns[job.pk].senior_since, job.pk))


def _asked(fleet: Fleet, jobs: Sequence[TrainingJob]) -> list[queue.Asked]:
    paces = queues.paces(jobs) if jobs else {}
    found = []
    for job in jobs:
        try:
            wanted = spec.parse(job.spec)
        except InvalidSpec:  # it fails as soon as its turn comes
            continue
        pace = paces[job.pk]
        asks = demand(wanted, job.memory_bytes, pace.seconds)
        capacity = fleet.capacity(asks)
        # What only a person or another job's end gives it is not to be waited for.
        able = 0 if job.waiting.get("quota") else capacity.fit + capacity.working
        left = pace.left(wanted.rounds, None if job.deadline_at else wanted.stopping.deadline_hours)
        found.append(
            queue.Asked(
                job.pk, asks.needed, asks.selected, capacity.fit, able, seconds=left, until=job.deadline_at
            )
        )
    return found


def _reasons(devices: Iterable[DeviceFacts], asks: Demand) -> tuple[Reason, ...]:
    """The most frequent first. Of a device that is away and would not do either, the latter."""
    found: dict[tuple[str, bool], list[str]] = {}
    for one in devices:
        lasting = matching.lasting(one, asks)
        if reason := lasting or matching.busy(one) or matching.passing(one, asks):
            found.setdefault((reason, bool(lasting)), []).append(one.name)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Reason(*key, len(names), tuple(names[:NAMES])) for key, names in ordered)


def _sentence(asks: Demand, capacity: Capacity, starts: str, quota: str, ahead: int, slots: int) -> str:
    wanted = f"{asks.needed} to {asks.selected}" if asks.selected > asks.needed else str(asks.needed)
    counts = f"{_devices(capacity.ever)}, {capacity.fit} of them now; the job takes {wanted}."
    if quota:
        return f"{counts} {quota}"
    if starts == "never":
        return f"{counts} It would wait in vain: too few devices could ever take it."
    if starts == "now":
        return f"{counts} It would start at once."
    if capacity.fit < asks.needed:
        return f"{counts} It would wait for devices."
    if slots < 1:
        return f"{counts} It would wait: {settings.MAX_RUNS} runs are active, which is the most allowed."
    return f"{counts} It would wait its turn: {ahead} go{'es' if ahead == 1 else ''} first."


def _devices(count: int) -> str:
    return "1 device fits" if count == 1 else f"{count} devices fit"
