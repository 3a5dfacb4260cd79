"""Which job starts next, on which devices, and why the others wait.

One look at the queue reads all devices at once and goes through the jobs in their order (placement.queue). A
look that finds no job that waits reads no devices.
"""

import logging
from typing import Any

from django.conf import settings
from django.db import IntegrityError
from django.utils import timezone

from fl_server.exceptions import Conflict
from fl_server.models import Run, TrainingJob
from fl_server.placement import choice, explaining, queue
from fl_server.placement.availability import hours
from fl_server.placement.facts import DeviceFacts
from fl_server.selectors import placement as selectors
from fl_server.selectors import queue as queues
from fl_server.selectors import runs as run_selectors
from fl_server.services import forecasts, jobs, runs
from fl_server.services.look import Entry, Look

logger = logging.getLogger(__name__)


def claim_next() -> list[Run]:
    """Start every queued job that its devices allow, in the order of the queue."""
    active = queues.active()
    if not active:
        return []
    look = Look(timezone.now(), active)
    for job, exc in look.broken:
        jobs.try_finish(job, TrainingJob.Status.FAILED, exc.code, exc.message)
    for entry in look.queue:
        try:
            _consider(look, entry)
        except Exception:
            # One job that cannot be placed must not stop all others.
            logger.exception("%s could not be placed", entry.job)
            entry.waiting = {"sentence": "It could not be placed because of a fault of the platform."}
    forecasts.keep_up(look)
    for entry in look.queue:
        if entry.waiting:
            jobs.explain_waiting(entry.job, entry.waiting)
    return [entry.run for entry in look.queue if entry.run]


def _consider(look: Look, entry: Entry) -> None:
    """Start the job, end it because it has waited long enough, or say why it waits."""
    needed = entry.needed(look.now)
    waiting = _hindrance(look, entry, needed)
    if not waiting:
        _start(look, entry)
        return
    if entry.has_given_up(look.now) and entry.wanted.waiting.then == "fail":
        hours = entry.wanted.waiting.give_up_hours
        reason = f"Gave up after {hours:g} hours in the queue. {waiting['sentence']}"
        jobs.try_finish(entry.job, TrainingJob.Status.FAILED, "waited-too-long", reason)
        return
    patience = explaining.patience(entry.give_up_at, entry.wanted.waiting.then)
    entry.waiting = waiting | {"position": entry.position} | patience


def _hindrance(look: Look, entry: Entry, needed: int) -> dict[str, Any]:
    """Why the job cannot start; empty when it can."""
    if look.slots < 1:
        return {"sentence": f"{settings.MAX_RUNS} runs are active, which is the most allowed."}
    room = look.book.room(entry.job.owner_id, needed)
    if not room.allows(needed):
        return {"sentence": room.reason, "quota": True, "impossible": room.never(needed)}
    if len(look.fleet.fitting(entry.demand)) >= needed:
        return {}
    said = explaining.devices(look.fleet, entry.demand, needed)
    capacity = look.fleet.capacity(entry.demand)
    if queue.may_hold(entry.turn, look.now, needed, capacity.fit, capacity.working):
        look.fleet.hold(look.fleet.fitting(entry.demand))
        said["sentence"] += " It keeps those that fit until other runs give back the rest."
    return said


def _start(look: Look, entry: Entry) -> None:
    try:
        devices, entry.run = _claim(look, entry)
    except (Conflict, IntegrityError) as exc:
        logger.debug("%s not claimed this time, somebody was faster: %s", entry.job, exc)
    else:
        look.started(entry, devices)


def _claim(look: Look, entry: Entry) -> tuple[list[DeviceFacts], Run]:
    job = entry.job
    # With the job's number: equal jobs of equal seed would otherwise ask the same machines again and again.
    seed = entry.wanted.seed + job.pk
    fitting = look.fleet.fitting(entry.demand)
    cut, dealt = run_selectors.previous_partitions(job.pk)
    room = look.book.room(job.owner_id, entry.needed(look.now)).devices
    most = min(entry.demand.selected, len(fitting) if room is None else room)
    partitions = cut or entry.wanted.partition.count or min(len(fitting), most)
    count = min(most, partitions)
    short = choice.shortlist(fitting, count, seed, dealt)
    habits = selectors.habits(short, hours(look.now, choice.seconds_of_round(entry.demand)))
    known = selectors.weighed(short, job.pk, habits)
    chosen = choice.choose(known, entry.demand, count, seed, look.now, look.fleet.working_of())
    why = {one.device.pk: one.stored() for one in chosen}
    devices = [one for one in fitting if one.pk in why]
    run = runs.claim(job, deal(devices, partitions, dealt), partitions, why, forecasts.first(job))
    return devices, run


def deal(devices: list[Any], partitions: int, dealt: dict[Any, int]) -> list[tuple[Any, int]]:
    """Give each device a partition of its own: the one that it had before where there is one."""
    holders: dict[int, Any] = {}
    for device in devices:
        partition = dealt.get(device.pk, partitions)
        # Two may have had the same one, each in a run without the other.
        if partition < partitions:
            holders.setdefault(partition, device)
    kept = {device: partition for partition, device in holders.items()}
    free = iter(sorted(set(range(partitions)) - set(holders)))
    return [(device, kept[device] if device in kept else next(free)) for device in devices]
