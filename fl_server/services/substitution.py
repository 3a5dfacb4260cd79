"""Devices that a run lost between its rounds give their places to others, which get the same rows.

A device is lost when it cannot do the job's work, or when it takes no part in the round under way and was
silent for REPLACE_AFTER, or has its owner back and took no part for so long. It is given back at once where
it is of no use, otherwise when another can take its place, or when it was silent for RELEASE_AFTER. What was
given back is simply free: once able again it may get a place itself. A run never holds more devices than it
began with. Where nobody takes the places of those that left, the job goes on with the rest as long as a round
gets its quorum, or one answer.

Before a run's first round nobody gets the place of a device that cannot do the work: the fault may be the
job's, and would go through the whole fleet.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from fl_server import spec
from fl_server.models import Device, Participation, Reservation, Run
from fl_server.placement import choice
from fl_server.placement.choice import Choice
from fl_server.placement.facts import DeviceFacts, demand
from fl_server.placement.fleet import Fleet
from fl_server.selectors import placement as selectors
from fl_server.selectors import quotas
from fl_server.selectors import runs as run_selectors
from fl_server.services import audit, jobs, runs

logger = logging.getLogger(__name__)

HOW_LOST = {
    "problem": "which cannot do the job's work",
    "silent": "which is away",
    "owner": "whose owner is back",
    "gone": "which was taken out",
}


@dataclass
class Place:
    """A part of the data that no able device holds."""

    partition: int
    lost: Reservation | None = None
    how: str = "gone"


def replace_lost() -> list[Reservation]:
    """Returns the reservations of the newcomers, which are to be announced."""
    running = Run.objects.filter(status=Run.Status.RUNNING).exclude(partition_rows=[])
    found: list[Reservation] = []
    # Read once at most. Who is taken is refused a second time by the database.
    fleet = cache(lambda: Fleet(selectors.devices()))
    for run in running.exclude(job__pausing=True).select_related("job"):
        try:
            _give_back(run)
            if places := _places(run):
                found += _fill(run, places, fleet)
        except Exception:
            # One run must not keep the tick from all others.
            logger.exception("the places of %s could not be filled", run)
    return found


def _held(run: Run) -> QuerySet[Reservation]:
    return run.reservations.filter(released_at__isnull=True).select_related("device")


def _useless() -> Q:
    other_rows = Q(rows_found__isnull=False) & ~Q(rows_found=F("rows"))
    return ~Q(problem="") | other_rows


def _silent(seconds: float) -> Q:
    before = timezone.now() - timedelta(seconds=seconds)
    return Q(device__last_seen__isnull=True, reserved_at__lt=before) | Q(device__last_seen__lt=before)


def _owner_is_back(seconds: float) -> Q:
    """Not for a moment only: whoever is there again soon keeps its warm worker and its place."""
    before = timezone.now() - timedelta(seconds=seconds)
    lately = Participation.objects.filter(
        run=OuterRef("run"), device=OuterRef("device"), finished_at__gte=before
    )
    return Q(device__may_train=False, reserved_at__lt=before) & ~Exists(lately)


def _give_back(run: Run) -> None:
    """Those that keep a place for nothing."""
    for reservation in _held(run).filter(_useless() | _silent(settings.RELEASE_AFTER)):
        device = reservation.device
        with transaction.atomic():
            runs.release_device(device, run)
            how = HOW_LOST["problem" if _is_useless(reservation) else "silent"]
            jobs.note(run.job, "device-released", f"Goes on without {device.name}, {how}.", run=run)
            audit.record(None, "device.release", f"device:{device.pk}", name=device.name, run=run.pk)


def _is_useless(reservation: Reservation) -> bool:
    found = reservation.rows_found
    return bool(reservation.problem) or (found is not None and found != reservation.rows)


def _places(run: Run) -> list[Place]:
    """Vacant parts first, then those whose device another may relieve; none in the last round."""
    last = run.job.rounds.order_by("-number").values_list("number", flat=True).first() or 0
    if last + 1 >= run.job.spec["rounds"]:
        return []
    working = Participation.objects.filter(
        run=run, device=OuterRef("device"), round_number__gt=last, status__in=Participation.ACTIVE
    )
    lost = _silent(settings.REPLACE_AFTER) | _owner_is_back(settings.REPLACE_AFTER)
    idle = list(_held(run).filter(lost).exclude(Exists(working)).order_by("partition"))
    dealt = set(run.reservations.values_list("partition", flat=True))
    vacant = dealt - set(_held(run).values_list("partition", flat=True))
    if last < run.first_round:
        vacant -= set(run.reservations.filter(_useless()).values_list("partition", flat=True))
    return [Place(partition) for partition in sorted(vacant)] + [
        Place(one.partition, one, "silent" if one.device.may_train else "owner") for one in idle
    ]


@dataclass
class _Takers:
    """Free devices that fit, the best first; one that had a part of the data before gets that one again."""

    choices: Sequence[Choice]
    had: dict[Any, int] = field(default_factory=dict)

    def take(self, partition: int) -> Choice | None:
        if not self.choices:
            return None
        same = (one for one in self.choices if self.had.get(one.device.pk) == partition)
        taken = next(same, self.choices[0])
        self.choices = [one for one in self.choices if one is not taken]
        return taken


def _fill(run: Run, places: list[Place], fleet: Callable[[], Fleet]) -> list[Reservation]:
    room = quotas.book({run.job.owner_id}).room(run.job.owner_id, 1).devices
    if room is not None:
        # Who relieves another device adds none.
        vacant = [place for place in places if place.lost is None]
        places = vacant[:room] + [place for place in places if place.lost]
    takers = _takers(run, len(places), fleet()) if _anybody_is_free() else _Takers([])
    found = []
    for place in places:
        if taker := takers.take(place.partition):
            newcomer = _substitute(run, place, taker)
            found += [newcomer] if newcomer else []
    return found


def _anybody_is_free() -> bool:
    """Asked of the database alone: mostly nobody is, and then no facts are read."""
    lent = Reservation.objects.filter(device=OuterRef("pk"), released_at__isnull=True)
    able = Device.objects.filter(status=Device.Status.APPROVED, may_train=True, may_start=True)
    here = able.exclude(Device.gone()).exclude(Device.silent()).exclude(node_id="")
    return here.exclude(Exists(lent)).exists()


def _takers(run: Run, count: int, fleet: Fleet) -> _Takers:
    wanted = spec.parse(run.job.spec)
    asked = demand(wanted, run.job.memory_bytes)
    useless = set(run.reservations.filter(_useless()).values_list("device_id", flat=True))
    fitting = [one for one in fleet.fitting(asked) if one.pk not in useless]
    if not fitting:
        return _Takers([])
    weighed = selectors.weighed(fitting, run.job_id)
    chosen = choice.choose(weighed, asked, count, wanted.seed, timezone.now(), fleet.working_of())
    _, had = run_selectors.previous_partitions(run.job_id)
    return _Takers(chosen, had)


def _substitute(run: Run, place: Place, taker: Choice) -> Reservation | None:
    """None when the run ended or somebody else took the device meanwhile."""
    try:
        with transaction.atomic():
            # Held until the end of the transaction: who ends the run releases the newcomer too.
            if not Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING).update(fence=F("fence")):
                return None
            if place.lost:
                runs.release_device(place.lost.device, run)
            newcomer = _reserve(run, place.partition, taker.device, taker.stored())
            jobs.note(run.job, "device-replaced", _sentence(place, taker.device), run=run)
            audit.record(
                None, "device.substitute", f"device:{taker.device.pk}", name=taker.device.name, run=run.pk
            )
    except IntegrityError as exc:
        logger.info("%s is not free any more: %s", taker.device.name, exc)
        return None
    return newcomer


def _reserve(run: Run, partition: int, device: DeviceFacts, why: dict[str, Any]) -> Reservation:
    """One that was in the run before gets its old row again: a run holds a device once."""
    fresh = {
        "partition": partition,
        "rows": run.partition_rows[partition],
        "reserved_at": timezone.now(),
        "ready_at": None,
        "rows_found": None,
        "choice": why,
        "released_at": None,
    }
    again = Reservation.objects.filter(run=run, device_id=device.pk, released_at__isnull=False)
    if not again.update(**fresh):
        Reservation.objects.create(run=run, device_id=device.pk, **fresh)
    return Reservation.objects.select_related("device", "run__job__owner").get(run=run, device_id=device.pk)


def _sentence(place: Place, device: DeviceFacts) -> str:
    if place.lost and place.lost.device_id != device.pk:
        return f"{device.name} takes the place of {place.lost.device.name}, {HOW_LOST[place.how]}."
    return f"{device.name} takes a place that was free."
