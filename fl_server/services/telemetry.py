"""What devices measured: gathered in memory, written once a minute, thinned out with age.

A row for a device and a minute holds its samples for a day; the minutes stay a month, the hours a year. The
minute under way exists only in the memory of the process that the device talks to: a crash loses it.
"""

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from fl_server import samples
from fl_server.models import Device, TelemetryBucket
from fl_server.samples import Numbers, Summary

Span = TelemetryBucket.Span
Key = tuple[Any, datetime]  # a device's id and the start of a minute
Timed = list[tuple[float, Numbers]]  # seconds since then, numbers

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# What a database that is away for longer makes us forget.
KEPT_IN_MEMORY = timedelta(minutes=10)
ROWS_AT_ONCE = 500
UPDATED = ("count", "means", "highest", "lowest")


class Recorder:
    """The minutes under way; any thread may add, any thread may take those that are over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[Key, Timed] = {}
        self._newest: datetime | None = None

    def add(self, device_id: Any, numbers: Numbers, now: datetime) -> bool:
        """Keep a sample. True when a minute is over and nobody has taken it yet."""
        start = minute_of(now)
        with self._lock:
            self._minutes.setdefault((device_id, start), []).append(((now - start).total_seconds(), numbers))
            over = self._newest is not None and start > self._newest
            self._newest = max(start, self._newest or start)
        return over

    def take(self, before: datetime) -> dict[Key, Timed]:
        """The minutes that began before then, which leave the memory."""
        with self._lock:
            keys = [key for key in self._minutes if key[1] < before]
            return {key: self._minutes.pop(key) for key in keys}

    def put_back(self, minutes: dict[Key, Timed], now: datetime) -> None:
        with self._lock:
            for key, timed in minutes.items():
                if now - key[1] < KEPT_IN_MEMORY:
                    self._minutes[key] = timed + self._minutes.get(key, [])


recorder = Recorder()


def add(device_id: Any, numbers: Numbers, now: datetime) -> None:
    """Keep a sample; the first of a new minute writes those that are over."""
    if recorder.add(device_id, numbers, now):
        flush(now)


def flush(now: datetime, *, everything: bool = False) -> int:
    """Write the minutes that are over, or all; returns how many rows. What cannot be written waits."""
    minutes = recorder.take(now + MINUTE if everything else minute_of(now))
    if not minutes:
        return 0
    try:
        return _write(minutes)
    except DatabaseError:
        recorder.put_back(minutes, now)
        raise


def roll_up(now: datetime | None = None) -> int:
    """Make an hour of each hour's minutes, from the newest hour that exists on; returns how many rows."""
    hour = (now or timezone.now()).replace(minute=0, second=0, microsecond=0)
    minutes = TelemetryBucket.objects.filter(span=Span.MINUTE, start__lt=hour)
    newest = TelemetryBucket.objects.filter(span=Span.HOUR).aggregate(at=Max("start"))["at"]
    # The newest hour once more: a process may have written its last minutes late.
    first = minutes.filter(start__gte=newest) if newest else minutes
    start, written = _earliest(first), 0
    while start is not None:
        start = start.replace(minute=0, second=0, microsecond=0)
        written += _roll_up_hour(start)
        start = _earliest(minutes.filter(start__gte=start + HOUR))
    return written


def expire(now: datetime | None = None) -> int:
    """Drop what is older than the settings say; returns how many rows changed or went."""
    now = now or timezone.now()
    buckets = TelemetryBucket.objects.order_by()
    with_samples = buckets.filter(span=Span.MINUTE, samples__isnull=False)
    minutes = buckets.filter(span=Span.MINUTE, start__lt=now - timedelta(days=settings.TELEMETRY_MINUTE_DAYS))
    hours = buckets.filter(span=Span.HOUR, start__lt=now - timedelta(days=settings.TELEMETRY_HOUR_DAYS))
    raw = with_samples.filter(start__lt=now - timedelta(days=settings.TELEMETRY_SAMPLE_DAYS))
    changed = sum(buckets.filter(pk__in=keys).update(samples=None) for keys in _in_batches(raw))
    for rows in (minutes, hours):
        changed += sum(buckets.filter(pk__in=keys).delete()[0] for keys in _in_batches(rows))
    return changed


def minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _write(minutes: dict[Key, Timed]) -> int:
    """One row for each device and minute. A minute that another process began is added to."""
    with transaction.atomic():
        known = _known(device_id for device_id, _ in minutes)
        of_known = {key: timed for key, timed in minutes.items() if key[0] in known}
        for row in TelemetryBucket.objects.filter(
            span=Span.MINUTE, device_id__in=known, start__in={start for _, start in of_known}
        ):
            timed = of_known.pop((row.device_id, row.start), None)
            if timed is not None:
                _extend(row, timed)
        made = [_minute(key, timed) for key, timed in of_known.items()]
        TelemetryBucket.objects.bulk_create(made, batch_size=ROWS_AT_ONCE, ignore_conflicts=True)
    return len(minutes)


def _known(ids: Iterable[Any]) -> set[Any]:
    """Those that still exist and may still tell something."""
    devices = Device.objects.filter(pk__in=set(ids)).exclude(status=Device.Status.REVOKED)
    return set(devices.values_list("pk", flat=True))


def _minute(key: Key, timed: Timed) -> TelemetryBucket:
    columns = samples.in_columns(timed)
    of_all = samples.summary([numbers for _, numbers in timed])
    return TelemetryBucket(
        device_id=key[0], start=key[1], span=Span.MINUTE, samples=columns, **_fields(of_all)
    )


def _extend(row: TelemetryBucket, timed: Timed) -> None:
    together = sorted(samples.from_columns(row.samples) + timed, key=lambda each: each[0])
    for name, value in _fields(samples.summary([numbers for _, numbers in together])).items():
        setattr(row, name, value)
    row.samples = samples.in_columns(together)
    row.save()


def _earliest(rows: QuerySet[TelemetryBucket]) -> datetime | None:
    earliest: datetime | None = rows.aggregate(at=Min("start"))["at"]
    return earliest


def _roll_up_hour(start: datetime) -> int:
    rows = TelemetryBucket.objects.filter(span=Span.MINUTE, start__gte=start, start__lt=start + HOUR)
    facts = rows.order_by("device_id").values_list("device_id", *UPDATED).iterator(ROWS_AT_ONCE)
    hours = [
        TelemetryBucket(
            device_id=device_id,
            start=start,
            span=Span.HOUR,
            **_fields(samples.merged(Summary(*fields) for _, *fields in group)),
        )
        for device_id, group in groupby(facts, key=lambda fact: fact[0])
    ]
    TelemetryBucket.objects.bulk_create(
        hours,
        batch_size=ROWS_AT_ONCE,
        update_conflicts=True,
        unique_fields=["device", "span", "start"],
        update_fields=list(UPDATED),
    )
    return len(hours)


def _fields(of_all: Summary) -> dict[str, Any]:
    return {name: getattr(of_all, name) for name in UPDATED}


def _in_batches(rows: QuerySet[TelemetryBucket]) -> Iterator[list[int]]:
    """Keys of rows that match until none is left: the caller changes them, so that they match no more."""
    while keys := list(rows.values_list("pk", flat=True)[:ROWS_AT_ONCE]):
        yield keys
