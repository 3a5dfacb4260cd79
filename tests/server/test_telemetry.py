"""Samples become a row a minute, minutes become hours, and each form goes when its time is over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from fl_server.models import Device, TelemetryBucket
from fl_server.selectors import telemetry as selectors
from fl_server.services import telemetry
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
Span = TelemetryBucket.Span


@pytest.fixture(autouse=True)
def recorder(monkeypatch: pytest.MonkeyPatch) -> telemetry.Recorder:
    """One that remembers nothing of other tests."""
    fresh = telemetry.Recorder()
    monkeypatch.setattr(telemetry, "recorder", fresh)
    return fresh


def measure(device: Device, start: datetime, count: int, every: float = 5.0, cpu: float = 10.0) -> None:
    for index in range(count):
        telemetry.add(device.pk, {"cpu": cpu}, start + timedelta(seconds=index * every))


def minute(device: Device, start: datetime, cpu: float, count: int = 12, **fields: Any) -> TelemetryBucket:
    numbers = {"means": {"cpu": cpu}, "highest": {"cpu": cpu + 5}, "lowest": {"cpu": cpu - 5}}
    return TelemetryBucket.objects.create(
        device=device, start=start, span=Span.MINUTE, count=count, **numbers, **fields
    )


def rows(span: int = Span.MINUTE) -> list[TelemetryBucket]:
    return list(TelemetryBucket.objects.filter(span=span).order_by("start", "device"))


def test_the_minute_under_way_costs_no_query(world: World, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        measure(world.training, NOON, 11)


def test_the_first_sample_of_a_new_minute_writes_a_row_for_each_device(
    world: World, django_assert_max_num_queries: Any
) -> None:
    for device in (world.training, world.foreign_device):
        measure(device, NOON, 12, cpu=10.0 if device == world.training else 30.0)
    with django_assert_max_num_queries(6):
        measure(world.training, NOON + MINUTE, 1)
    found = {row.device_id: row for row in rows()}
    assert set(found) == {world.training.pk, world.foreign_device.pk}
    row = found[world.foreign_device.pk]
    assert (row.start, row.count, row.means) == (NOON, 12, {"cpu": 30.0})
    assert row.samples["at"] == [5.0 * index for index in range(12)]


def test_a_flush_leaves_the_minute_under_way_unless_it_is_to_write_everything(world: World) -> None:
    measure(world.training, NOON, 3)
    assert telemetry.flush(NOON + timedelta(seconds=50)) == 0
    assert telemetry.flush(NOON + timedelta(seconds=50), everything=True) == 1
    assert telemetry.flush(NOON + 2 * MINUTE) == 0


def test_a_minute_written_in_two_parts_is_one_row(world: World) -> None:
    measure(world.training, NOON, 3, cpu=10.0)
    telemetry.flush(NOON, everything=True)
    measure(world.training, NOON + timedelta(seconds=30), 1, cpu=50.0)
    telemetry.flush(NOON + MINUTE)
    [row] = rows()
    assert (row.count, row.means, row.highest) == (4, {"cpu": 20.0}, {"cpu": 50.0})
    assert row.samples["at"] == [0.0, 5.0, 10.0, 30.0]


def test_devices_that_are_gone_or_revoked_leave_the_rest_alone(world: World) -> None:
    gone = Device.objects.get(pk=world.foreign_device.pk)
    measure(gone, NOON, 2)
    measure(world.pending, NOON, 2)
    measure(world.training, NOON, 2)
    world.foreign_device.delete()
    Device.objects.filter(pk=world.pending.pk).update(status=Device.Status.REVOKED)
    telemetry.flush(NOON + MINUTE)
    assert [row.device_id for row in rows()] == [world.training.pk]


def test_what_cannot_be_written_is_written_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise DatabaseError("busy")

    measure(world.training, NOON, 2)
    with monkeypatch.context() as patch:
        patch.setattr(telemetry, "_write", refuse)
        with pytest.raises(DatabaseError):
            telemetry.flush(NOON + MINUTE)
    assert telemetry.flush(NOON + 2 * MINUTE) == 1
    assert rows()[0].count == 2


def test_minutes_are_not_kept_in_memory_for_ever(world: World, recorder: telemetry.Recorder) -> None:
    measure(world.training, NOON, 2)
    late = NOON + telemetry.KEPT_IN_MEMORY + MINUTE
    recorder.put_back(recorder.take(late), late)
    assert recorder.take(late) == {}


def test_minutes_become_hours_and_rolling_up_again_changes_nothing(world: World) -> None:
    for index in range(60):
        minute(world.training, NOON + index * MINUTE, cpu=10.0 + index % 2 * 20)
    minute(world.training, NOON + HOUR, cpu=99.0)
    assert telemetry.roll_up(NOON + HOUR + 5 * MINUTE) == 1
    [hour] = rows(Span.HOUR)
    assert (hour.start, hour.count, hour.means) == (NOON, 720, {"cpu": 20.0})
    assert (hour.highest, hour.lowest, hour.samples) == ({"cpu": 35.0}, {"cpu": 5.0}, None)
    telemetry.roll_up(NOON + HOUR + 5 * MINUTE)
    assert [row.count for row in rows(Span.HOUR)] == [720]


def test_a_minute_that_was_written_late_enters_its_hour(world: World) -> None:
    minute(world.training, NOON, cpu=10.0)
    telemetry.roll_up(NOON + HOUR)
    minute(world.training, NOON + 59 * MINUTE, cpu=30.0)
    telemetry.roll_up(NOON + HOUR)
    assert [row.means for row in rows(Span.HOUR)] == [{"cpu": 20.0}]


def test_hours_without_samples_are_skipped_however_long(world: World) -> None:
    minute(world.training, NOON, cpu=10.0)
    minute(world.training, NOON + timedelta(days=20), cpu=30.0)
    minute(world.foreign_device, NOON + timedelta(days=20), cpu=50.0)
    assert telemetry.roll_up(NOON + timedelta(days=20, hours=1)) == 3


def test_samples_go_after_a_day_minutes_after_a_month_and_hours_after_a_year(world: World) -> None:
    columns = {"at": [0.0], "cpu": [1.0]}
    day = timedelta(days=1)
    kept = minute(world.training, NOON - day + HOUR, cpu=10.0, samples=columns)
    bare = minute(world.training, NOON - day - HOUR, cpu=10.0, samples=columns)
    minute(world.training, NOON - 31 * day - HOUR, cpu=10.0, samples=columns)
    for age in (366 * day - HOUR, 366 * day + HOUR):
        numbers = {"means": {}, "highest": {}, "lowest": {}, "count": 1}
        TelemetryBucket.objects.create(device=world.training, start=NOON - age, span=Span.HOUR, **numbers)
    assert telemetry.expire(NOON) == 4
    assert telemetry.expire(NOON) == 0
    assert [row.pk for row in rows()] == [bare.pk, kept.pk]
    assert [row.samples for row in rows()] == [None, columns]
    assert [row.start for row in rows(Span.HOUR)] == [NOON - 366 * day + HOUR]


@pytest.mark.parametrize(
    ("ago", "width", "form"),
    [
        (HOUR, HOUR, "samples"),
        (timedelta(days=3), HOUR, "minutes"),
        (timedelta(days=1), timedelta(days=1), "minutes"),
        (timedelta(days=60), HOUR, "hours"),
        (timedelta(days=31), timedelta(days=31), "hours"),
    ],
)
def test_the_resolution_suits_length_and_age(
    settings: Any, ago: timedelta, width: timedelta, form: str
) -> None:
    since = timezone.now() - ago
    assert selectors.resolution(since, since + width) == form


def test_a_series_of_an_hour_shows_the_samples_and_only_those_inside(world: World) -> None:
    now = telemetry.minute_of(timezone.now())
    measure(world.training, now - 2 * MINUTE, 24)
    telemetry.flush(now)
    found = selectors.series(world.training, now - 2 * MINUTE + timedelta(seconds=30), now)
    assert (found["resolution"], len(found["times"])) == ("samples", 18)
    assert found["numbers"]["cpu"]["mean"] == [10.0] * 18


def test_a_long_series_is_merged_to_what_a_chart_can_show(world: World) -> None:
    now = timezone.now()
    for index in range(1500):
        minute(world.training, telemetry.minute_of(now) - index * MINUTE, cpu=10.0 + index % 2)
    found = selectors.series(world.training, now - timedelta(days=1), now)
    assert found["step_seconds"] == 120
    assert 700 < len(found["times"]) <= selectors.MOST_POINTS
    assert found["numbers"]["cpu"]["mean"][1:-1] == [10.5] * (len(found["times"]) - 2)


def test_a_number_that_comes_and_goes_is_unknown_in_between(world: World) -> None:
    now = timezone.now()
    start = telemetry.minute_of(now) - 3 * HOUR
    minute(world.training, start, cpu=10.0)
    numbers = {name: {"battery": 50.0} for name in ("means", "highest", "lowest")}
    TelemetryBucket.objects.create(
        device=world.training, start=start + MINUTE, span=Span.MINUTE, count=1, **numbers
    )
    found = selectors.series(world.training, now - 4 * HOUR, now)
    assert found["numbers"]["cpu"]["mean"] == [10.0, None]
    assert found["numbers"]["battery"]["mean"] == [None, 50.0]
