"""A machine whose client was installed again is a new device; its history moves over from the old one."""

from typing import Any

from django.db import transaction
from django.db.models import Exists, Model, OuterRef

from fl_server import events, kick, roles
from fl_server.exceptions import Conflict, NotAllowed, NotFound
from fl_server.models import ClientLog, Device, Participation, Reservation, TelemetryBucket
from fl_server.selectors import devices as selectors
from fl_server.services import audit, devices, policies

# What moves, and the fields that may exist once for a device.
HISTORY: tuple[tuple[type[Model], tuple[str, ...]], ...] = (
    (Participation, ("run", "round_number")),
    (TelemetryBucket, ("span", "start")),
    (ClientLog, ()),
)
ROWS_AT_ONCE = 500
# It is the same machine: what its rounds and weeks told of it holds on.
LEARNED = ("relative_speed", "network_bytes_a_second", "free_hours")


def replace(old: Device, new: Device, by: Any) -> Device:
    """Let `new` take the place of `old`, which is the same machine of the same owner.

    Name, labels, private data, participations, telemetry and logs move. Where both took part in the same
    round, or were measured in the same minute, each keeps its own row: a round holds a device once.
    """
    if not (roles.is_admin(by) or new.owner_id == by.pk):
        raise NotAllowed("Only an admin or the device's owner may replace a device.")
    with transaction.atomic():
        # Locked in one order, so that two who replace at once wait for each other.
        list(Device.objects.select_for_update().filter(pk__in=[old.pk, new.pk]).order_by("pk"))
        old.refresh_from_db()
        new.refresh_from_db()
        if new.status == Device.Status.REVOKED:
            raise Conflict(f"{new.name} was revoked and can replace nothing.")
        if not selectors.replaceable_by(new).filter(pk=old.pk).exists():
            raise NotFound("There is no such device that this one could replace.")
        if old.status != Device.Status.REVOKED:
            devices.revoke(old, None, "replaced")
        for model, once in HISTORY:
            _move(model, once, old, new)
        _move_reservations(old, new)
        _take_over(old, new)
        audit.record(by, "device.replace", f"device:{new.pk}", name=new.name, old=str(old.pk))
        policies.tell(new)
        events.device_changed(new.pk, new.owner_id, name=new.name, presence=new.presence)
        kick.tick()
    return new


def _move(model: type[Model], once: tuple[str, ...], old: Device, new: Device) -> None:
    rows = model._default_manager.filter(device=old)
    if once:
        same = {name: OuterRef(name) for name in once}
        rows = rows.exclude(Exists(model._default_manager.filter(device=new, **same)))
    # By their keys: not every database updates a table that the same statement reads.
    while keys := list(rows.values_list("pk", flat=True)[:ROWS_AT_ONCE]):
        model._default_manager.filter(pk__in=keys).update(device=new)


def _move_reservations(old: Device, new: Device) -> None:
    """Those that ended, so that an interrupted job deals the machine the part it had before."""
    held = Reservation.objects.filter(device=new).values_list("run", flat=True)
    Reservation.objects.filter(device=old, released_at__isnull=False).exclude(run__in=list(held)).update(
        device=new
    )


def _take_over(old: Device, new: Device) -> None:
    facts = {
        "name": old.name,
        "labels": new.labels | old.labels,
        # The new client's own list is the newer one.
        "private_data": new.private_data or old.private_data,
        **{name: getattr(new, name) or getattr(old, name) for name in LEARNED},
    }
    Device.objects.filter(pk=new.pk).update(**facts)
    for name, value in facts.items():
        setattr(new, name, value)
    Device.objects.filter(pk=old.pk).update(replaced_by=new)
