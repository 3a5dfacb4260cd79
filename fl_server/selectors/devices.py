"""Devices, shaped for a page or the API."""

from collections import Counter
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from fl_server import roles
from fl_server.models import AuditEvent, Device, Reservation

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


def not_removed(devices: QuerySet[Device]) -> QuerySet[Device]:
    """What a list shows unless it is asked for more."""
    return devices.exclude(status=Device.Status.REVOKED)


def removed(devices: QuerySet[Device]) -> QuerySet[Device]:
    return devices.filter(status=Device.Status.REVOKED)


def replaceable_by(new: Device) -> QuerySet[Device]:
    """Older devices that are the same machine of the same owner; of other owners' machines nobody learns.

    One that is connected now is no earlier life of this one: several clients may share a machine.
    """
    if not new.machine_hash or new.status == Device.Status.REVOKED:
        return Device.objects.none()
    same = Device.objects.filter(owner_id=new.owner_id, machine_hash=new.machine_hash)
    over = Q(status=Device.Status.REVOKED) | Device.gone() | Device.silent()
    return same.filter(over, replaced_by__isnull=True, enrolled_at__lt=new.enrolled_at).order_by(
        "-enrolled_at"
    )


def node_keys() -> frozenset[bytes]:
    """The keys of those that the engine knows, as the gateway meets them."""
    known = Device.objects.filter(status=Device.Status.APPROVED).exclude(node_id="")
    return frozenset(key.encode() for key in known.values_list("node_key", flat=True))


def why_revoked(device: Device) -> str:
    """The reason that was given when it was revoked."""
    if device.status != Device.Status.REVOKED:
        return ""
    events = AuditEvent.objects.filter(action="device.revoke", target=f"device:{device.pk}")
    data: dict[str, Any] = events.values_list("data", flat=True).first() or {}
    return str(data.get("reason", ""))


def counts(devices: QuerySet[Device]) -> dict[str, int]:
    """How many devices there are of each presence; every presence is named."""
    found = Counter(
        device.presence for device in with_presence(devices).select_related(None).only(*FACTS_OF_PRESENCE)
    )
    return {presence: found[presence] for presence in Device.Presence.values}
