"""When jobs are expected to start and to end: kept in their rows, written when people should see a change."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from fl_server import events
from fl_server.models import TrainingJob
from fl_server.placement import queue
from fl_server.placement.queue import Asked, Ending, Forecast
from fl_server.selectors.queue import Pace
from fl_server.services.look import Entry, Look


def first(job: TrainingJob) -> datetime | None:
    """When the job was expected to start, as it was first said after it came to wait."""
    said = job.waiting.get("first_expected")
    return datetime.fromisoformat(said) if said else None


def keep_up(look: Look) -> None:
    """Write what changed for jobs that run or wait; what a job says of itself keeps the first forecast."""
    ends = {job.pk: end_of(job, look.paces[job.pk], look.now) for job in look.running}
    for job in look.running:
        _write(job, Forecast(None, ends[job.pk]), look.now)
    waiting = [entry for entry in look.queue if entry.waiting]
    if not waiting:
        return
    found = _of_queue(look, waiting, ends)
    for entry in waiting:
        start = found[entry.job.pk].start
        told = first(entry.job) or start
        if told:
            entry.waiting["first_expected"] = told.isoformat(timespec="seconds")
        _write(entry.job, found[entry.job.pk], look.now)


def end_of(job: TrainingJob, pace: Pace, now: datetime) -> datetime | None:
    """Of a running job: its last round's end and the rounds that are left, at most its deadline."""
    left = pace.left(int(job.spec["rounds"]))
    if left is None:
        return None
    begun = pace.last or job.started_at or now
    end = begun + timedelta(seconds=left)
    return max(now, queue.capped(end, job.deadline_at) or end)


def _of_queue(
    look: Look, waiting: Sequence[Entry], ends: Mapping[int, datetime | None]
) -> dict[int, Forecast]:
    held = Counter(look.lent.values())
    endings = [Ending(ends[job.pk], held[job.pk], job.owner_id) for job in look.running]
    asked = []
    for entry in waiting:
        job, wanted = entry.job, entry.wanted
        capacity = look.fleet.capacity(entry.demand)
        by_quota = bool(entry.waiting.get("quota"))
        opens = look.book.opens(job.owner_id, entry.needed(look.now), endings) if by_quota else None
        # A deadline counts from the first start.
        hours = None if job.deadline_at else wanted.stopping.deadline_hours
        asked.append(
            Asked(
                job.pk,
                entry.demand.needed,
                entry.demand.selected,
                fit=capacity.fit,
                able=0 if by_quota and opens is None else capacity.fit + capacity.working,
                seconds=look.paces[job.pk].left(wanted.rounds, hours),
                not_before=opens,
                until=job.deadline_at,
            )
        )
    free = look.fleet.free + look.fleet.held
    return queue.forecast(look.now, free, look.slots, endings, asked)


def _write(job: TrainingJob, found: Forecast, now: datetime) -> None:
    start, end = found.start, found.end
    if not (queue.differs(job.expected_start, start, now) or queue.differs(job.expected_end, end, now)):
        return
    mine = TrainingJob.objects.filter(pk=job.pk, status=job.status)
    if mine.update(expected_start=start, expected_end=end):
        job.expected_start, job.expected_end = start, end
        events.job_changed(
            job.pk,
            expected_start=start.isoformat() if start else None,
            expected_end=end.isoformat() if end else None,
        )
