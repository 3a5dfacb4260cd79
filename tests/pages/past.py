"""A past for one device of the demo: what it measured, what went wrong, its log and its former self."""

import math
from datetime import timedelta
from typing import Any

from django.utils import timezone

from fl_server import samples
from fl_server.models import ClientLog, Device, Participation, TelemetryBucket
from fl_server.services import devices, telemetry

GB = 10**9
PHOTOS = {
    "name": "workshop-photos",
    "kind": "image-folder",
    "columns": [],
    "rows": 1840,
    "classes": {"bolt": 910, "nut": 620, "washer": 310},
}
LINES = (
    "2026-11-24 09:12:03 INFO fl_client.agent connected to https://constellation.example",
    "2026-11-24 09:12:04 INFO fl_client.session reserved for run 12, part 3 of 5",
    "2026-11-24 09:12:31 WARNING fl_client.worker out of memory, batches of 16 instead of 32",
    "2026-11-24 09:13:08 INFO fl_client.session round 8 is handed in: 840 rows in 2.1 s",
)


def numbers(at: float) -> samples.Numbers:
    """What a workstation measures that works at night; `at` is hours ago."""
    wave = math.sin(at / 3.8) + 0.4 * math.sin(at * 9)
    return {
        "cpu": round(38 + 22 * wave, 1),
        "cpu_by_others": round(9 + 6 * math.sin(at * 5), 1),
        "ram_free_bytes": int((34 - 9 * wave) * GB),
        "temperature": round(56 + 7 * wave, 1),
        "gpu0.load": round(48 + 30 * wave, 1),
        "gpu0.free_bytes": int((8 - 3 * wave) * GB),
        "gpu0.watts": 180.0,
        "gpu0.temperature": round(61 + 9 * wave, 1),
    }


def measured(device: Device, minutes: int = 1440, hours: int = 720) -> None:
    """Samples of the last hour, minutes of a day and hours of a month, with a gap in each."""
    now = telemetry.minute_of(timezone.now())
    rows = [_minute(device, now, ago) for ago in range(1, minutes) if not 400 < ago < 460]
    start = now.replace(minute=0)
    for ago in range(1, hours):
        one = numbers(float(ago))
        facts = {"count": 720, "means": one, "highest": one, "lowest": one}
        rows.append(TelemetryBucket(device=device, start=start - timedelta(hours=ago), span=3600, **facts))
    TelemetryBucket.objects.bulk_create(rows)


def _minute(device: Device, now: Any, ago: int) -> TelemetryBucket:
    timed = [(at, numbers((ago * 60 - at) / 3600)) for at in (2.0, 22.0, 42.0)]
    of_all = samples.summary([one for _, one in timed])
    return TelemetryBucket(
        device=device,
        start=now - timedelta(minutes=ago),
        span=60,
        count=of_all.count,
        means=of_all.means,
        highest=of_all.highest,
        lowest=of_all.lowest,
        samples=samples.in_columns(timed) if ago <= 61 else None,
    )


def lived(device: Device) -> None:
    """All that a device's page can show."""
    measured(device)
    former = devices.revoke(_twin(device), None, "Its disk was replaced.")
    assert former.machine_hash == device.machine_hash
    Device.objects.filter(pk=device.pk).update(private_data=[PHOTOS])
    ClientLog.objects.create(device=device, text="\n".join(LINES), received_at=timezone.now())
    part = device.participations.order_by("pk").first()
    if part:
        Participation.objects.filter(pk=part.pk).update(energy_wh=312.5)


def _twin(device: Device) -> Device:
    """The same machine before its client was installed again."""
    Device.objects.filter(pk=device.pk).update(machine_hash="e" * 64)
    device.machine_hash = "e" * 64
    twin = Device.objects.create(
        owner=device.owner,
        name="lab-ws-01 (old disk)",
        status=Device.Status.APPROVED,
        identity_key=f"twin {device.pk}",
        node_key=f"twin {device.pk}",
        machine_hash=device.machine_hash,
    )
    Device.objects.filter(pk=twin.pk).update(enrolled_at=device.enrolled_at - timedelta(days=40))
    return twin
