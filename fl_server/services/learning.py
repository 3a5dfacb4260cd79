"""What the platform learns of its devices by watching them: speed, network, and when they are free.

Everything is an exponentially weighted mean, so that old habits fade.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from statistics import median, median_low
from typing import Any

from django.db import transaction
from django.utils import timezone

from fl_server.models import Device, Participation, Round

# A new measurement counts so much: after three rounds, half of what is known is new.
ROUND_WEIGHT = 0.2
# An hour of the week is looked at six times a week: after one week, half of what is known is new.
SAMPLE_WEIGHT = 0.1
HOURS = 168
# Free as often as not, until it is known.
UNKNOWN_HOUR = 0.5
# What passes in no time tells of the delay of the network, not of its speed.
LEAST_BYTES, LEAST_SECONDS = 250_000, 0.001
FASTEST = 10.0  # times the median of a round; more is not believed
BATCH = 500


def learn_from_round(round_id: int) -> None:
    """Speeds of the devices whose answers were accepted.

    `relative_speed` is rows a second against the median of the same round, so that devices of different jobs
    can be compared; one that only ever met slow ones looks fast. A round of one device says nothing.
    """
    done = Round.objects.filter(pk=round_id).first()
    if done is None:
        return
    accepted = Participation.objects.filter(
        run=done.run_id, round_number=done.number, status=Participation.Status.ACCEPTED
    ).values_list(
        "device", "examples", "train_seconds", "transfer_seconds", "bytes_down", "bytes_up", named=True
    )
    measured = {part.device: part for part in accepted}
    speeds = {
        pk: part.examples / part.train_seconds
        for pk, part in measured.items()
        if (part.train_seconds or 0) >= LEAST_SECONDS
    }
    # A device that claims to be a thousand times as fast makes nobody else slow.
    fastest = FASTEST * median_low(speeds.values()) if speeds else 0.0
    speeds = {pk: min(speed, fastest) for pk, speed in speeds.items()}
    usual = median(speeds.values()) if len(speeds) > 1 else 0.0

    def learn(device: Device) -> None:
        part = measured[device.pk]
        if usual and device.pk in speeds:
            device.relative_speed = _mixed(device.relative_speed, speeds[device.pk] / usual)
        moved = part.bytes_down + part.bytes_up
        if moved >= LEAST_BYTES and (part.transfer_seconds or 0) >= LEAST_SECONDS:
            device.network_bytes_a_second = _mixed(
                device.network_bytes_a_second, moved / part.transfer_seconds
            )

    _update(measured, ["relative_speed", "network_bytes_a_second"], learn)


def sample_availability(now: datetime | None = None) -> None:
    """Note for every approved device whether it is free: connected, and its owner's rules let it train."""
    moment = (now or timezone.now()).astimezone(UTC)
    hour = moment.weekday() * 24 + moment.hour

    def learn(device: Device) -> None:
        hours = device.free_hours if len(device.free_hours) == HOURS else [UNKNOWN_HOUR] * HOURS
        free = device.may_train and not device.is_gone and not device.is_silent
        hours[hour] = round(hours[hour] + SAMPLE_WEIGHT * (free - hours[hour]), 4)
        device.free_hours = hours

    approved = Device.objects.filter(status=Device.Status.APPROVED).order_by("pk")
    _update(approved.values_list("pk", flat=True), ["free_hours"], learn)


def _mixed(before: float | None, measured: float) -> float:
    return measured if before is None else before + ROUND_WEIGHT * (measured - before)


def _update(pks: Iterable[Any], fields: Sequence[str], learn: Callable[[Device], None]) -> None:
    """A few at a time, in one order, so that two who update many devices never wait for each other."""
    for some in _batches(pks):
        with transaction.atomic():
            rows = Device.objects.filter(pk__in=some).order_by("pk").select_for_update(no_key=True)
            devices = list(rows.only("pk", "may_train", "last_seen", "disconnected_at", *fields))
            for device in devices:
                learn(device)
            Device.objects.bulk_update(devices, fields)


def _batches(pks: Iterable[Any]) -> Iterator[list[Any]]:
    ordered = sorted(pks)
    for start in range(0, len(ordered), BATCH):
        yield ordered[start : start + BATCH]
