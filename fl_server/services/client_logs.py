"""The log of a device's client: a person asks, the device answers, a few answers are kept."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from fl_server import events, redaction, roles
from fl_server.exceptions import Conflict, NotAllowed, TooManyRequests
from fl_server.models import ClientLog, Device
from fl_server.services import audit

LINES = 200
MOST_CHARACTERS = 100_000
KEPT = 10
PAUSE = timedelta(seconds=10)
SPEAKING = frozenset({Device.Presence.IDLE, Device.Presence.TRAINING, Device.Presence.PAUSED})


def may_read(device: Device, user: Any) -> bool:
    """A log may name files and programs, so it is for those who care for the machine."""
    return roles.is_admin(user) or (device.owner_id == user.pk and bool(roles.of(user)))


def ask(device: Device, by: Any) -> ClientLog:
    """Ask a connected device for the last lines of its log; they arrive a moment later."""
    check_may_read(device, by)
    if device.presence not in SPEAKING:
        raise Conflict(
            f"{device.name} is {device.presence}; only a connected device can send its log.",
            code="device-offline",
        )
    with transaction.atomic():
        # Two who ask at the same moment are one after the other here.
        Device.objects.select_for_update().get(pk=device.pk)
        if ClientLog.objects.filter(device=device, asked_at__gt=timezone.now() - PAUSE).exists():
            raise TooManyRequests(f"The log was asked for less than {PAUSE.seconds} s ago.")
        log = ClientLog.objects.create(device=device, asked_by=by)
        _forget_old(device)
        audit.record(by, "device.log", f"device:{device.pk}", name=device.name, request=log.pk)
        events.tell_device(device.pk, type="logs", request=log.pk, lines=LINES)
    return log


def check_may_read(device: Device, by: Any) -> None:
    if not may_read(device, by):
        raise NotAllowed("Only an admin and the device's owner see its log.")


def received(device: Device, request: int, lines: Sequence[str]) -> bool:
    """Keep the answer to an open request to this very device; anything else is dropped."""
    text = redaction.redacted("\n".join(lines[-LINES:]).replace("\x00", ""))[-MOST_CHARACTERS:]
    with transaction.atomic():
        mine = ClientLog.objects.filter(pk=request, device=device, received_at__isnull=True)
        if not mine.update(text=text, received_at=timezone.now()):
            return False
        events.log_arrived(device.pk, device.owner_id)
    return True


def _forget_old(device: Device) -> None:
    logs = ClientLog.objects.filter(device=device)
    newest = list(logs.order_by("-pk").values_list("pk", flat=True)[:KEPT])
    logs.exclude(pk__in=newest).delete()
