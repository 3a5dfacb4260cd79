"""What a device measured over some time, at the resolution that suits its length and age."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from math import ceil
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from fl_server import samples
from fl_server.models import Device, TelemetryBucket
from fl_server.samples import Summary

Span = TelemetryBucket.Span
Point = tuple[float, Summary]  # seconds since 1970

SAMPLES, MINUTES, HOURS = "samples", "minutes", "hours"
LONGEST = {SAMPLES: timedelta(hours=2), MINUTES: timedelta(days=2)}
SECONDS = {SAMPLES: 5, MINUTES: 60, HOURS: 3600}
# More than a chart can show; neighbours become one.
MOST_POINTS = 800


def series(device: Device, since: datetime, until: datetime) -> dict[str, Any]:
    """The times of the points, and of each number mean, highest and lowest at each; None where unknown."""
    form = resolution(since, until)
    step = SECONDS[form] * max(1, ceil((until - since).total_seconds() / SECONDS[form] / MOST_POINTS))
    points = [
        (at * step, samples.merged(one for _, one in group))
        for at, group in groupby(_points(device, form, since, until), key=lambda point: int(point[0] // step))
    ]
    names = sorted({name for _, point in points for name in point.means})
    return {
        "resolution": form,
        "step_seconds": step,
        "times": [at for at, _ in points],
        "numbers": {
            name: {
                "mean": [point.means.get(name) for _, point in points],
                "highest": [point.highest.get(name) for _, point in points],
                "lowest": [point.lowest.get(name) for _, point in points],
            }
            for name in names
        },
    }


def resolution(since: datetime, until: datetime) -> str:
    """The finest that is short enough to show and young enough to be kept."""
    age = timezone.now() - since
    kept = {
        SAMPLES: timedelta(days=settings.TELEMETRY_SAMPLE_DAYS),
        MINUTES: timedelta(days=settings.TELEMETRY_MINUTE_DAYS),
    }
    return next((form for form in LONGEST if until - since <= LONGEST[form] and age <= kept[form]), HOURS)


def _points(device: Device, form: str, since: datetime, until: datetime) -> Iterator[Point]:
    span = Span.HOUR if form == HOURS else Span.MINUTE
    rows = device.telemetry_buckets.filter(
        span=span, start__gt=since - timedelta(seconds=span), start__lte=until
    ).order_by("start")
    if form == SAMPLES:
        yield from _single(rows, since, until)
        return
    for start, *fields in rows.values_list("start", "count", "means", "highest", "lowest"):
        yield start.timestamp(), Summary(*fields)


def _single(rows: QuerySet[TelemetryBucket], since: datetime, until: datetime) -> Iterator[Point]:
    for start, columns in rows.values_list("start", "samples"):
        for at, numbers in samples.from_columns(columns) if columns else ():
            moment = start + timedelta(seconds=at)
            if since <= moment <= until:
                yield moment.timestamp(), Summary(1, numbers, numbers, numbers)
