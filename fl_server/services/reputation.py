"""Reputations kept up to date; devices that get no jobs for theirs until somebody or time releases them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from fl_server import events, kick, roles
from fl_server.exceptions import Conflict, NotAllowed
from fl_server.models import Device, Participation, Round
from fl_server.placement import reputation
from fl_server.selectors import reputation as selectors
from fl_server.selectors.devices import FACTS_OF_PRESENCE
from fl_server.services import audit, runs

DEVICES_AT_ONCE = 500
# A change that nobody would see is not written.
NOTICED = 0.005


def after_round(done: Round) -> None:
    """Look again at those whose reputation it may change: good work of a spotless device does not."""
    parts = Participation.objects.filter(run=done.run_id, round_number=done.number)
    good = Q(status=Participation.Status.ACCEPTED, device__reputation=1.0)
    recompute(parts.exclude(good).values_list("device", flat=True))


def review(now: datetime | None = None) -> None:
    """Old faults fade; who has been in quarantine for the configured days comes back."""
    now = now or timezone.now()
    over = Device.objects.filter(quarantined_at__lte=now - timedelta(days=settings.QUARANTINE_DAYS))
    for device in over:
        _release(device, None, f"{settings.QUARANTINE_DAYS:g} days are over.")
    marked = Device.objects.filter(Q(reputation__lt=1.0) | Q(quarantined_at__isnull=False))
    recompute(marked.exclude(status=Device.Status.REVOKED).values_list("pk", flat=True), now)


def recompute(pks: Iterable[UUID], now: datetime | None = None) -> None:
    """Reputations anew from what is stored, in a constant number of queries for each 500 devices."""
    now = now or timezone.now()
    ordered = sorted(set(pks))
    for start in range(0, len(ordered), DEVICES_AT_ONCE):
        _recompute(ordered[start : start + DEVICES_AT_ONCE], now)


def _recompute(pks: list[UUID], now: datetime) -> None:
    answers = selectors.answers(pks, now)
    changed, fallen = [], []
    with transaction.atomic():
        # In one order, so that two who write many devices never wait for each other.
        rows = Device.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")
        for device in rows.only("name", "owner_id", "reputation", "quarantined_at", *FACTS_OF_PRESENCE):
            found = reputation.of(answers.get(device.pk, ()), now)
            if abs(found.score - device.reputation) > NOTICED:
                device.reputation = round(found.score, 4)
                changed.append(device)
            if found.score < settings.QUARANTINE_BELOW and device.quarantined_at is None:
                fallen.append((device, found))
        Device.objects.bulk_update(changed, ["reputation"])
    for device, found in fallen:
        _quarantine(device, found, now)


def _quarantine(device: Device, found: reputation.Reputation, now: datetime) -> None:
    reason = f"Reputation {found.score:.2f}, below {settings.QUARANTINE_BELOW:g}. {found.sentence}"
    free = Device.objects.filter(pk=device.pk, status=Device.Status.APPROVED, quarantined_at__isnull=True)
    with transaction.atomic():
        if not free.update(quarantined_at=now, quarantine_reason=reason[:200]):
            return
        device.quarantined_at, device.quarantine_reason = now, reason[:200]
        runs.release_device(device)
        audit.record(None, "device.quarantine", f"device:{device.pk}", name=device.name, reason=reason)
        _tell(device)


def release(device: Device, by: Any) -> Device:
    """End a device's quarantine. What it answered before no longer counts."""
    if not roles.is_admin(by):
        raise NotAllowed("Only an admin releases devices from quarantine.")
    if not _release(device, by, f"Released by {by.get_username()}."):
        raise Conflict(f"{device.name} is not in quarantine.")
    return device


def _release(device: Device, by: Any, why: str) -> bool:
    with transaction.atomic():
        mine = Device.objects.filter(pk=device.pk, quarantined_at__isnull=False)
        if not mine.update(quarantined_at=None, quarantine_reason="", reputation=1.0):
            return False
        device.quarantined_at, device.quarantine_reason, device.reputation = None, "", 1.0
        audit.record(by, selectors.RELEASED, f"device:{device.pk}", name=device.name, reason=why)
        _tell(device)
        kick.tick()
    return True


def _tell(device: Device) -> None:
    events.device_changed(
        device.pk, device.owner_id, presence=device.presence, quarantine=device.quarantine_reason
    )
