"""Facts for placement, in a number of queries that does not depend on how many devices there are."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import (
    BooleanField,
    Case,
    Count,
    QuerySet,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast
from django.utils import timezone

from fl_server.models import Contribution, Device, Participation, Reservation, Run
from fl_server.placement.availability import hours
from fl_server.placement.choice import USUAL_ROUND
from fl_server.placement.facts import DeviceFacts, Gpu, family, standing

RECENT = timedelta(days=7)
# So many keys a statement may well name; for more, all are read.
FEW = 2000
# The code of a run that ended because of its devices.
THEIR_FAULT = "too-few-replies"
# As text: Django decodes JSON field by field, and most of it is the same on many devices.
DOCUMENTS = ("decision_codes", "hardware", "telemetry", "labels", "private_data")
# By a text that the database makes of it a device is found much faster than by a UUID.
KEY = Cast("pk", TextField())
COLUMNS = (
    "pk",
    "key",
    "name",
    "owner_id",
    "status",
    "node_id",
    "is_online",
    "may_train",
    "may_start",
    "quarantined_at",
    "platform",
    "client_version",
    "relative_speed",
    "network_bytes_a_second",
    "reputation",
    *(f"{name}_text" for name in DOCUMENTS),
)


def devices(lent: dict[Any, int] | None = None) -> list[DeviceFacts]:
    """Every device that was not revoked, by name. `lent` is what `working` gave, if it was asked already."""
    lent = working() if lent is None else lent
    rows = _with_texts(Device.objects.exclude(status=Device.Status.REVOKED), DOCUMENTS)
    away = Device.gone() | Device.silent()
    rows = rows.annotate(
        key=KEY,
        is_online=Case(When(away, then=Value(False)), default=Value(True), output_field=BooleanField()),
    )
    read, names = _Documents(), _Names()
    return [_facts(row, lent, read, names) for row in rows.order_by("name", "pk").values_list(*COLUMNS)]


def working() -> dict[Any, int]:
    """The devices that are lent, each with its job."""
    held = Reservation.objects.filter(released_at__isnull=True)
    return dict(held.values_list("device_id", "run__job_id"))


@dataclass(frozen=True)
class Habits:
    """What is known of many days, by the keys of devices; read when a choice is to be made."""

    free_hours: dict[str, dict[int, float]]
    recent_work: dict[str, float]


def habits(facts: Collection[DeviceFacts], of_week: Sequence[int]) -> Habits:
    """Of these devices, or of all where these are very many, for these hours of the week."""
    few = [one.pk for one in facts] if len(facts) <= FEW else None
    return Habits(_free_hours(of_week, few), _recent_work(few))


def weighed(
    facts: Sequence[DeviceFacts], job_id: int | None = None, known: Habits | None = None
) -> list[DeviceFacts]:
    """With what only the choice among fitting devices asks: habits, recent work, what the job had of each."""
    known = known or habits(facts, hours(timezone.now(), USUAL_ROUND))
    free, work = known.free_hours, known.recent_work
    had = _history(job_id) if job_id else _History()
    if not had.dealt:
        return [
            standing(one, free.get(one.key, ()), work.get(one.key, 0.0), None, 0, False, False)
            for one in facts
        ]
    return [
        standing(
            one,
            free.get(one.key, ()),
            work.get(one.key, 0.0),
            part := had.dealt.get(one.pk),
            had.seen.get(part, 0),
            one.pk in had.interrupted,
            one.pk in had.troubled,
        )
        for one in facts
    ]


class _Documents(dict[str, Any]):
    """Reads each different text once."""

    def __missing__(self, text: str) -> Any:
        self[text] = read = json.loads(text)
        return read


class _Names(dict[str, frozenset[str]]):
    def __missing__(self, text: str) -> frozenset[str]:
        self[text] = names = frozenset(each["name"] for each in json.loads(text))
        return names


def _with_texts(rows: QuerySet[Device], names: Iterable[str]) -> QuerySet[Device]:
    return rows.annotate(**{f"{name}_text": Cast(name, TextField()) for name in names})


def _facts(row: tuple[Any, ...], lent: dict[Any, int], read: _Documents, names: _Names) -> DeviceFacts:
    pk, key, name, owner, status, node, online, may_train, may_start, quarantined, *rest = row
    platform, version, speed, network, reputation, codes, hardware, telemetry, labels, data = rest
    machine, sample = read[hardware], json.loads(telemetry)
    return DeviceFacts(
        pk,
        name,
        owner,
        status,
        node,
        online,
        may_train and may_start,
        read[codes],
        pk in lent,
        quarantined is not None,
        machine.get("cores", 0),
        machine.get("ram_bytes", 0),
        sample.get("ram_free_bytes"),
        _gpus(sample.get("gpus") or machine.get("gpus") or ()),
        read[labels],
        family(platform),
        version,
        names[data],
        speed,
        network,
        reputation,
        key,
    )


def _gpus(found: Iterable[dict[str, Any]]) -> tuple[Gpu, ...]:
    return tuple(Gpu(gpu.get("total_bytes", 0), gpu.get("free_bytes", 0)) for gpu in found)


def _free_hours(of_week: Sequence[int], few: list[Any] | None) -> dict[str, dict[int, float]]:
    asked = Device.objects.filter(status=Device.Status.APPROVED).order_by().annotate(key=KEY)
    asked = asked if few is None else asked.filter(pk__in=few)
    rows = asked.values_list("key", *(f"free_hours__{hour}" for hour in of_week))
    return {key: dict(zip(of_week, shares, strict=True)) for key, *shares in rows if shares[0] is not None}


def _recent_work(few: list[Any] | None) -> dict[str, float]:
    recent = Contribution.objects.filter(at__gte=timezone.now() - RECENT).order_by()
    recent = recent if few is None else recent.filter(device__in=few)
    of_each = recent.annotate(key=Cast("device_id", TextField())).values("key").annotate(sum=Sum("seconds"))
    return dict(of_each.values_list("key", "sum"))


@dataclass(frozen=True)
class _History:
    """What a job had of each device: the part dealt last, rounds that each part was in, and how it went."""

    dealt: dict[Any, int] = field(default_factory=dict)
    seen: dict[int | None, int] = field(default_factory=dict)
    interrupted: frozenset[Any] = frozenset()
    troubled: frozenset[Any] = frozenset()


def _history(job_id: int) -> _History:
    last = (
        Run.objects.filter(job=job_id).order_by("-number").values_list("pk", "status", "reason_code").first()
    )
    if last is None:
        return _History()
    reserved = Reservation.objects.filter(run__job=job_id).order_by("run__number")
    rows = list(reserved.values_list("device_id", "partition", "run_id", "problem"))
    fault_of_ours = last[1] == Run.Status.FAILED and last[2] != THEIR_FAULT
    troubled = frozenset(device for device, _, _, problem in rows if problem)
    in_last = frozenset(device for device, _, run, _ in rows if run == last[0])
    return _History(
        {device: partition for device, partition, _, _ in rows},
        _rounds_seen(job_id, {(run, device): part for device, part, run, _ in rows}),
        in_last - troubled if fault_of_ours else frozenset(),
        troubled,
    )


def _rounds_seen(job_id: int, parts: dict[tuple[int, Any], int]) -> dict[int | None, int]:
    accepted = Participation.objects.filter(run__job=job_id, status=Participation.Status.ACCEPTED)
    rows = accepted.order_by().values("run_id", "device_id").annotate(n=Count("pk"))
    seen: Counter[int | None] = Counter()
    for run, device, count in rows.values_list("run_id", "device_id", "n"):
        if (run, device) in parts:
            seen[parts[run, device]] += count
    return seen
