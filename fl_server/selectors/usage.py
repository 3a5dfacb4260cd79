"""How much of its processor, memory, GPUs and disk a device uses, by the minute."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from fl_server.models import AlertRule, Device, TelemetryBucket

Metric = AlertRule.Metric

# A minute is written when the next one begins, and its row may be a moment late.
FRESH = timedelta(minutes=3)
AT_ONCE = 500


@dataclass(frozen=True)
class Minute:
    """What one device did in a minute; numbers as in `fl_server.samples`."""

    device_id: UUID
    name: str
    owner_id: int
    ram_bytes: float | None
    start: datetime
    means: dict[str, float]

    def percent(self, metric: str) -> float | None:
        """Its use of a resource; None where the device cannot tell."""
        return USES[metric](self)


def newest(now: datetime) -> dict[UUID, Minute]:
    """The last minute of each approved device that speaks."""
    return {minute.device_id: minute for minute in _minutes(_rows(now - FRESH, now))}


def since(devices: Collection[UUID], start: datetime, now: datetime) -> dict[UUID, list[Minute]]:
    """The minutes of these devices, the oldest first."""
    found: dict[UUID, list[Minute]] = defaultdict(list)
    keys = list(devices)
    for first in range(0, len(keys), AT_ONCE):
        for minute in _minutes(_rows(start, now).filter(device_id__in=keys[first : first + AT_ONCE])):
            found[minute.device_id].append(minute)
    return found


def _rows(start: datetime, now: datetime) -> QuerySet[TelemetryBucket]:
    rows = TelemetryBucket.objects.filter(span=TelemetryBucket.Span.MINUTE, start__gte=start, start__lte=now)
    return rows.filter(device__status=Device.Status.APPROVED).order_by("start")


def _minutes(rows: QuerySet[TelemetryBucket]) -> Iterator[Minute]:
    device = ("device_id", "device__name", "device__owner_id", "device__hardware__ram_bytes")
    return (Minute(*facts) for facts in rows.values_list(*device, "start", "means"))


def _cpu(minute: Minute) -> float | None:
    return minute.means.get("cpu")


def _memory(minute: Minute) -> float | None:
    return _used(minute.means.get("ram_free_bytes"), minute.ram_bytes)


def _gpu(minute: Minute) -> float | None:
    """Of the busiest."""
    loads = [
        value for name, value in minute.means.items() if name.startswith("gpu") and name.endswith(".load")
    ]
    return max(loads, default=None)


def _disk(minute: Minute) -> float | None:
    """Of the disk that the client lives on; older clients do not tell its size."""
    return _used(minute.means.get("disk_free_bytes"), minute.means.get("disk_total_bytes"))


def _used(free: float | None, total: Any) -> float | None:
    if free is None or not isinstance(total, int | float) or total <= 0:
        return None
    return min(100.0, max(0.0, 100.0 * (1 - free / total)))


USES: dict[Any, Callable[[Minute], float | None]] = {
    Metric.CPU: _cpu,
    Metric.MEMORY: _memory,
    Metric.GPU: _gpu,
    Metric.DISK: _disk,
}
