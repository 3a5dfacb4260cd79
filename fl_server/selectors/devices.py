"""Devices, shaped for a page or the API."""

from collections import Counter
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from fl_server import roles
from fl_server.models import Device, Reservation

FACTS_OF_PRESENCE = ("status", "last_seen", "disconnected_at", "may_train")


def with_presence(devices: QuerySet[Device]) -> QuerySet[Device]:
    """Annotates `is_reserved`, so that `Device.presence` costs no further query."""
    reserved = Reservation.objects.filter(device=OuterRef("pk"), released_at__isnull=True)
    return devices.annotate(is_reserved=Exists(reserved))


def visible_to(user: Any) -> QuerySet[Device]:
    """Observers see the whole fleet, an owner the own devices, everybody else nothing."""
    devices = with_presence(Device.objects.select_related("owner"))
    if roles.may_observe(user):
        return devices
    if roles.OWNER in roles.of(user):
        return devices.filter(owner=user)
    return devices.none()


def counts(devices: QuerySet[Device]) -> dict[str, int]:
    """How many devices there are of each presence; every presence is named."""
    found = Counter(
        device.presence for device in with_presence(devices).select_related(None).only(*FACTS_OF_PRESENCE)
    )
    return {presence.value: found[presence] for presence in Device.Presence}
