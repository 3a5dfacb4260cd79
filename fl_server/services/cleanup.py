"""Devices that stay away: their people are told, and in the end they are removed.

A device is removed only when it was gone for the configured days and its warning is as old as a warning has
to be: a platform that itself was switched off for months warns first when it is back.
"""

import logging
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from fl_server import events, roles
from fl_server.exceptions import Conflict
from fl_server.models import Device
from fl_server.services import audit, devices, runs

logger = logging.getLogger(__name__)

DEVICES_AT_ONCE = 200


def sweep(now: datetime | None = None) -> None:
    now = now or timezone.now()
    remove(now)
    warn(now)


def warn(now: datetime) -> list[Device]:
    """Tell owners and admins once of devices that will soon be removed; mails that fail are tried again."""
    away = settings.REMOVE_AFTER_DAYS - settings.WARN_BEFORE_DAYS
    rows = _gone_since(now - timedelta(days=away)).filter(warned_at__isnull=True)
    warned = list(rows.select_related("owner")[:DEVICES_AT_ONCE])
    if not warned or not _mail(warned):
        return []
    for device in warned:
        with transaction.atomic():
            Device.objects.filter(pk=device.pk).update(warned_at=now)
            runs.release_device(device)
            audit.record(None, "device.warn", f"device:{device.pk}", name=device.name, **_since(device))
            events.device_changed(device.pk, device.owner_id, presence=device.presence)
    return warned


def remove(now: datetime) -> list[Device]:
    """Revoke the devices that stayed away after their warning."""
    gone = _gone_since(now - timedelta(days=settings.REMOVE_AFTER_DAYS))
    warned = gone.filter(warned_at__lte=now - timedelta(days=settings.WARN_BEFORE_DAYS))
    removed = []
    for device in warned[:DEVICES_AT_ONCE]:
        try:
            devices.revoke(device, None, f"Not seen for {settings.REMOVE_AFTER_DAYS:g} days.")
            removed.append(device)
        except Conflict:
            logger.info("%s was revoked by somebody else meanwhile", device)
    return removed


def _gone_since(moment: datetime) -> QuerySet[Device]:
    """Those that were neither heard of nor admitted since then."""
    left = Device.objects.exclude(status=Device.Status.REVOKED)
    heard = Coalesce("last_seen", "approved_at", "enrolled_at")
    return left.alias(heard=heard).filter(heard__lt=moment).order_by("pk")


def _mail(warned: list[Device]) -> bool:
    """One mail to each owner and one to the admins; False when the mail server takes none."""
    of_owner: dict[Any, list[Device]] = defaultdict(list)
    for device in warned:
        of_owner[device.owner].append(device)
    try:
        for owner, own in of_owner.items():
            _send("Your device will be removed from Constellation", own, [owner.email])
        _send("Devices will be removed from Constellation", warned, _admins())
    except OSError as exc:  # SMTPException is one
        logger.warning("nobody could be warned of devices that stay away: %s", exc)
        return False
    return True


def _send(subject: str, about: list[Device], to: list[str]) -> None:
    recipients = [address for address in to if address]
    if not recipients:
        return
    lines = "\n".join(f"- {device.name} (of {device.owner}), last seen {_day(device)}" for device in about)
    text = (
        f"These machines have not been connected for a long time:\n\n{lines}\n\n"
        f"They will be removed in {settings.WARN_BEFORE_DAYS:g} days. To keep one, switch it on and see that "
        f"its client runs; nothing else is needed. A removed machine can join again with a new code.\n\n"
        f"{settings.PUBLIC_URL}/devices/\n"
    )
    send_mail(subject, text, None, recipients)


def _admins() -> list[str]:
    people = get_user_model().objects.filter(Q(groups__name=roles.ADMIN) | Q(is_superuser=True))
    return sorted(set(people.filter(is_active=True).values_list("email", flat=True)))


def _day(device: Device) -> str:
    return f"on {device.last_seen:%d %B %Y}" if device.last_seen else "never"


def _since(device: Device) -> dict[str, str | None]:
    return {"last_seen": device.last_seen.isoformat() if device.last_seen else None}
