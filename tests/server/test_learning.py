from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server import kick, tasks
from fl_server.models import Device, Participation, Round, Run
from fl_server.placement.availability import stays_free
from fl_server.services import learning, participations, rounds
from tests.server import cluster, world

pytestmark = [pytest.mark.services, pytest.mark.django_db]

MB = 1_000_000
# A Monday, ten past nine.
MONDAY = datetime(2026, 3, 2, 9, 10, tzinfo=UTC)
MONDAY_AT_NINE = 9


def worked(run: Run, device: Device, number: int = 1, status: str = "accepted", **facts: Any) -> None:
    """The device's part in a round; by default 100 rows in 1 s, and 10 MB there and back in 2 s."""
    usual = {
        "examples": 100,
        "train_seconds": 1.0,
        "transfer_seconds": 2.0,
        "bytes_down": 5 * MB,
        "bytes_up": 5 * MB,
    }
    Participation.objects.create(
        run=run, device=device, round_number=number, status=status, **(usual | facts)
    )


def learnt(run: Run, number: int = 1) -> Round:
    done = world.committed(run, number, {})
    tasks.learn_from_round(done.pk)
    return done


def speed(device: Device) -> float | None:
    return Device.objects.get(pk=device.pk).relative_speed


def network(device: Device) -> float | None:
    return Device.objects.get(pk=device.pk).network_bytes_a_second


def seen(device: Device, **fields: Any) -> None:
    Device.objects.filter(pk=device.pk).update(**({"last_seen": timezone.now()} | fields))


def test_speed_is_rows_a_second_against_the_median_of_the_round() -> None:
    slow, usual, fast = cluster.idle_devices(3)
    run = cluster.led()
    worked(run, slow, train_seconds=4.0)
    worked(run, usual, examples=200, train_seconds=2.0)
    worked(run, fast, examples=300)
    learnt(run)
    assert [speed(slow), speed(usual), speed(fast)] == [0.25, 1.0, 3.0]


def test_a_new_measurement_counts_for_a_fifth() -> None:
    one, other, third = cluster.idle_devices(3)
    run = cluster.led()
    for number, seconds in ((1, 1.0), (2, 0.5)):
        worked(run, one, number, train_seconds=seconds)
        worked(run, other, number)
        worked(run, third, number)
        learnt(run, number)
    assert speed(one) == pytest.approx(1.2)
    assert speed(other) == pytest.approx(1.0)


def test_a_round_of_one_device_says_nothing_of_its_speed() -> None:
    cluster.idle("desk")
    run = cluster.led()
    device = Device.objects.get()
    worked(run, device)
    learnt(run)
    assert (speed(device), network(device)) == (None, 5 * MB)


@pytest.mark.parametrize("status", ["rejected", "late", "lost"])
def test_only_accepted_work_counts(status: str) -> None:
    one, other, third = cluster.idle_devices(3)
    run = cluster.led()
    worked(run, one, status=status, train_seconds=0.001)
    worked(run, other)
    worked(run, third)
    learnt(run)
    assert [speed(one), network(one), speed(other)] == [None, None, 1.0]


def test_a_client_that_does_not_say_how_long_it_took_stays_unknown() -> None:
    old, new, newer = cluster.idle_devices(3)
    run = cluster.led()
    worked(run, old, train_seconds=None, transfer_seconds=None)
    worked(run, new)
    worked(run, newer)
    learnt(run)
    assert [speed(old), network(old), speed(new)] == [None, None, 1.0]


def test_a_time_that_no_training_takes_is_not_believed() -> None:
    one, other, run = *cluster.idle_devices(2), cluster.led()
    worked(run, one, train_seconds=1e-320, transfer_seconds=1e-320)
    worked(run, other)
    learnt(run)
    assert (speed(one), network(one)) == (None, None)


def test_a_device_that_claims_the_impossible_makes_nobody_else_slow() -> None:
    liar, honest, run = *cluster.idle_devices(2), cluster.led()
    worked(run, liar, train_seconds=0.001)
    worked(run, honest)
    learnt(run)
    assert (speed(honest) or 0) > 0.15
    assert (speed(liar) or 0) < 2


def test_small_transfers_tell_of_delays_and_not_of_the_network() -> None:
    one, other = cluster.idle_devices(2)
    run = cluster.led()
    worked(run, one, bytes_down=1000, bytes_up=1000)
    worked(run, other, transfer_seconds=0.0)
    learnt(run)
    assert [network(one), network(other)] == [None, None]


def test_a_committed_round_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(kick, "learn", asked.append)
    cluster.idle("desk")
    run = cluster.led()
    now = timezone.now()
    report = rounds.RoundReport(1, now - timedelta(seconds=1), now)
    file = rounds.CheckpointFile("a.safetensors", "0" * 64, 1)
    row = rounds.commit(run, report, file, evaluate=False)
    assert rounds.commit(run, report, file, evaluate=False) == row
    assert asked == [row.pk]


def test_a_round_that_is_gone_teaches_nothing() -> None:
    tasks.learn_from_round(4711)
    assert not Device.objects.exists()


def test_learning_from_a_round_costs_the_same_queries_however_many_devices_there_are(
    django_assert_max_num_queries: Any,
) -> None:
    devices = cluster.idle_devices(30)
    run = cluster.led()
    for device in devices:
        worked(run, device)
    done = world.committed(run, 1, {})
    with django_assert_max_num_queries(8):
        learning.learn_from_round(done.pk)
    assert Device.objects.filter(relative_speed=1.0).count() == 30


def test_what_a_device_says_of_its_times_is_kept_with_its_part() -> None:
    device = cluster.idle("desk")
    run = cluster.led()
    participations.open_round(run, 1, [device])
    participations.uploaded(device, run.pk, 1, train_seconds=1.5, transfer_seconds=0.25)
    part = run.participations.get()
    assert (part.train_seconds, part.transfer_seconds) == (1.5, 0.25)


def test_an_hour_of_the_week_moves_towards_what_is_seen_in_it() -> None:
    free = cluster.idle("free")
    in_use = cluster.idle("in use", may_train=False)
    away = cluster.idle("away", last_seen=None)
    silent = cluster.idle("silent", last_seen=timezone.now() - timedelta(hours=1))
    learning.sample_availability(MONDAY)
    hours = {device.name: device.free_hours for device in Device.objects.all()}
    assert hours[free.name][MONDAY_AT_NINE] == 0.55
    assert [hours[each.name][MONDAY_AT_NINE] for each in (in_use, away, silent)] == [0.45] * 3
    assert all(set(each[:9] + each[10:]) == {0.5} and len(each) == 168 for each in hours.values())


def test_what_is_seen_again_and_again_becomes_known_and_old_habits_fade() -> None:
    device = cluster.idle("desk")
    for _ in range(40):
        learning.sample_availability(MONDAY)
    device.refresh_from_db()
    assert device.free_hours[MONDAY_AT_NINE] > 0.98
    seen(device, may_train=False)
    for _ in range(7):
        learning.sample_availability(MONDAY)
    device.refresh_from_db()
    assert 0.4 < device.free_hours[MONDAY_AT_NINE] < 0.5


def test_hours_are_those_of_utc_wherever_the_platform_stands() -> None:
    device = cluster.idle("desk")
    learning.sample_availability(datetime.fromisoformat("2026-03-02T00:30:00+01:00"))
    device.refresh_from_db()
    assert device.free_hours[6 * 24 + 23] == 0.55


def test_devices_that_wait_for_approval_or_were_revoked_are_not_looked_at() -> None:
    for status in (Device.Status.PENDING, Device.Status.REVOKED):
        cluster.idle(status, status=status)
    learning.sample_availability(MONDAY)
    assert [device.free_hours for device in Device.objects.all()] == [[], []]


def test_looking_at_the_fleet_costs_the_same_queries_however_many_devices_there_are(
    django_assert_max_num_queries: Any,
) -> None:
    cluster.idle_devices(30)
    with django_assert_max_num_queries(6):
        tasks.sample_availability()


def test_many_devices_are_updated_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "BATCH", 2)
    cluster.idle_devices(5)
    learning.sample_availability(MONDAY)
    assert Device.objects.exclude(free_hours=[]).count() == 5


def test_what_was_learned_is_what_placement_reads() -> None:
    device = cluster.idle("desk")
    assert stays_free(device.free_hours, MONDAY, 60) is None
    learning.sample_availability(MONDAY)
    device.refresh_from_db()
    assert stays_free(device.free_hours, MONDAY, 60) == 0.55
    # Through the next hour, of which nothing is known.
    assert stays_free(device.free_hours, MONDAY, 3600) == 0.5
