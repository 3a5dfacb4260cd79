"""What happens to devices: people approve and revoke them, their sockets come, speak and go."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from fl_server import events, kick, labels, lifecycle, reasons, roles, samples
from fl_server.device_messages import Decision, Hello, Telemetry
from fl_server.exceptions import NotAllowed
from fl_server.models import Device
from fl_server.services import audit, participations, policies, runs, signs
from fl_server.services import telemetry as history

Status = Device.Status
# What of the machine's decision cannot wait to be written.
DECISION = ("may_train", "may_start", "decision_codes")


def approve(device: Device, by: Any) -> Device:
    """Admit a device. The next tick registers its node with the engine."""
    if not roles.is_admin(by):
        raise NotAllowed("Only an admin approves devices.")
    with transaction.atomic():
        lifecycle.advance(device, Status.APPROVED, approved_at=timezone.now())
        audit.record(by, "device.approve", f"device:{device.pk}", name=device.name)
        _tell(device)
        kick.tick()
    return device


def revoke(device: Device, by: Any, reason: str) -> Device:
    """Shut a device out at once, for good: its socket closes, its work goes to others.

    `by` is an admin, the device's owner, or None when the device itself left.
    """
    if by is not None and not (roles.is_admin(by) or device.owner_id == by.pk):
        raise NotAllowed("Only an admin or the device's owner may revoke it.")
    with transaction.atomic():
        lifecycle.advance(device, Status.REVOKED, revoked_at=timezone.now())
        runs.release_device(device)
        audit.record(by, "device.revoke", f"device:{device.pk}", name=device.name, reason=reason)
        events.tell_device(device.pk, type="revoked", reason=reason)
        _tell(device)
        kick.tick()
    return device


def relabel(device: Device, by: Any, wanted: dict[str, str]) -> Device:
    """Give a device these labels and no others: other groups' rules may hold for it, other jobs may fit."""
    if not roles.is_admin(by):
        raise NotAllowed("Only an admin changes a device's labels.")
    labels.check_all(wanted)
    with transaction.atomic():
        before = device.labels
        if wanted == before:
            return device
        Device.objects.filter(pk=device.pk).update(labels=wanted)
        device.labels = wanted
        audit.record(
            by, "device.relabel", f"device:{device.pk}", name=device.name, before=before, after=wanted
        )
        policies.tell(device)
        _tell(device)
        kick.tick()
    return device


def registered(device: Device, node_id: str | int) -> None:
    """The engine knows the device's node now. Kept even for a device revoked meanwhile, to undo it."""
    with transaction.atomic():
        Device.objects.filter(pk=device.pk).update(node_id=str(node_id))
        device.refresh_from_db(fields=["status", "node_id"])
        if device.status == Status.APPROVED:
            events.tell_device(device.pk, type="approved", node_id=device.node_id)
            _tell(device)
        kick.tick()


def unregistered(device: Device) -> None:
    """The engine has shut the device's node out."""
    Device.objects.filter(pk=device.pk).update(node_unregistered_at=timezone.now())


def opened(device: Device) -> int:
    """The number of a socket that the device just opened; the newest has the highest."""
    with transaction.atomic():
        mine = Device.objects.filter(pk=device.pk)
        mine.update(socket=F("socket") + 1)
        return mine.values_list("socket", flat=True).get()


def connected(device: Device, hello: Hello) -> None:
    """A socket of the device is open and it introduced itself."""
    if device.warned_at:
        audit.record(None, "device.back", f"device:{device.pk}", name=device.name)
    _note(
        device,
        _said(hello.decision, timezone.now()),
        warned_at=None,
        hardware=hello.hardware.model_dump(mode="json"),
        platform=hello.platform,
        client_version=hello.version,
    )
    kick.tick()


def sign_of_life(device: Device, telemetry: Telemetry) -> None:
    """A sample arrived. It waits to be written with others, unless the machine's own decision turned.

    When new work may begin on it again, the tick looks at the queue.
    """
    now = timezone.now()
    history.add(device.pk, samples.numbers(telemetry), now)
    sample = telemetry.model_dump(mode="json", exclude={"type", "decision"})
    facts = _said(telemetry.decision, now) | {"telemetry": sample | {"at": now.isoformat()}}
    turned = any(getattr(device, name) != facts[name] for name in DECISION)
    if turned or device.is_gone or device.is_silent:
        _note(device, facts)
    else:
        _remember(device, facts)
        signs.add(device, {name: facts[name] for name in signs.FIELDS})
    if turned and device.may_start:
        kick.tick()


def disconnected(device: Device, socket: int) -> bool:
    """The device's socket of that number is gone; False when a newer one took over."""
    now = timezone.now()
    with transaction.atomic():
        if not Device.objects.filter(pk=device.pk, socket=socket).update(disconnected_at=now):
            return False
        Device.objects.filter(pk=device.pk).update(**signs.take(device))
        device.refresh_from_db(fields=["status", "last_seen", "disconnected_at", "may_train"])
        participations.gone(device)
        _tell(device)
    return True


def _said(decision: Decision, now: datetime) -> dict[str, Any]:
    return {
        "last_seen": now,
        "may_train": decision.allowed,
        "may_start": decision.allowed and decision.may_start,
        "decision_codes": list(decision.codes),
        "decision_reason": decision.reason,
        "decision_until": decision.until,
    }


def _note(device: Device, facts: dict[str, Any], **more: Any) -> None:
    """Write at once what the device just said, unless it was revoked meanwhile."""
    signs.take(device)
    facts = facts | {"disconnected_at": None} | more
    with transaction.atomic():
        if not Device.objects.filter(pk=device.pk).exclude(status=Status.REVOKED).update(**facts):
            return
        _remember(device, facts)
        _tell(device)


def _remember(device: Device, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        setattr(device, name, value)


def _tell(device: Device) -> None:
    events.device_changed(
        device.pk,
        device.owner_id,
        name=device.name,
        status=device.status,
        presence=device.presence,
        reason="" if device.may_train and device.may_start else reasons.general(device.decision_codes),
        last_seen=device.last_seen.isoformat() if device.last_seen else None,
        telemetry=device.telemetry,
    )
