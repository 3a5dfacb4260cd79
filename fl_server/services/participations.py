"""What a device reports about its part in a round, and how that part ends."""

from typing import Any

from django.db.models import Case, Value, When
from django.utils import timezone

from fl_server import events, lifecycle
from fl_server.models import Device, Participation, Reservation, Run

Status = Participation.Status
PHASES = frozenset({Status.DOWNLOADING, Status.TRAINING, Status.UPLOADING, Status.PARKED})


def open_round(run: Run, round_number: int, devices: list[Device]) -> None:
    """The devices selected for a round, in one write."""
    Participation.objects.bulk_create(
        [Participation(run=run, round_number=round_number, device=device) for device in devices],
        ignore_conflicts=True,
    )
    for device in devices:
        _tell(run.job_id, device, round_number, Status.SELECTED)


def progress(
    device: Device,
    run_id: int,
    round_number: int,
    phase: str,
    batch: int | None = None,
    batches: int | None = None,
) -> None:
    """A device works on its round. Only a change of phase is stored; batches are for the eyes."""
    if phase not in PHASES:
        return
    mine = Participation.objects.filter(
        device=device, run_id=run_id, round_number=round_number, status__in=Participation.ACTIVE
    )
    known = mine.values_list("run__job_id", "status").first()
    if known is None:
        return
    job_id, before = known
    changed = before != phase and mine.update(status=phase)
    if changed or batch is not None:
        _tell(job_id, device, round_number, phase, batch=batch, batches=batches)


def ready(
    device: Device, run_id: int, fence: int, working_on: int | None = None, rows: int | None = None
) -> None:
    """The device's node is connected and its worker is warm.

    `working_on` is the round it has in hand, `rows` the size of the partition that it cut for itself.
    """
    mine = Reservation.objects.filter(
        device=device, run_id=run_id, run__fence=fence, released_at__isnull=True
    )
    if mine.update(ready_at=timezone.now(), rows_found=rows):
        _tell_run(run_id, device, type="ready", working_on=working_on)


def parked(device: Device, run_id: int, round_number: int, examples: int) -> None:
    """The owner is back. What the device did so far counts when the round closes before it goes on."""
    progress(device, run_id, round_number, Status.PARKED)
    Reservation.objects.filter(device=device, run_id=run_id, released_at__isnull=True).update(ready_at=None)
    _tell_run(run_id, device, type="parked", round=round_number, examples=examples)


def uploaded(
    device: Device,
    run_id: int,
    round_number: int,
    *,
    partial: bool = False,
    lost_seconds: float = 0.0,
    energy_wh: float | None = None,
    train_seconds: float | None = None,
    transfer_seconds: float | None = None,
) -> None:
    """The reply lies complete in the engine."""
    mine = Participation.objects.filter(device=device, run_id=run_id, round_number=round_number)
    mine.exclude(status__in=Participation.TERMINAL).update(
        partial=partial,
        lost_seconds=lost_seconds,
        energy_wh=energy_wh,
        train_seconds=train_seconds,
        transfer_seconds=transfer_seconds,
    )
    _tell_run(run_id, device, type="uploaded", round=round_number)


def failed(device: Device, run_id: int, round_number: int | None, code: str, message: str) -> None:
    """The device could not do its part; without a round: it can do nothing for this run at all."""
    if round_number is None:
        Reservation.objects.filter(device=device, run_id=run_id).update(problem=f"{code}: {message}"[:500])
    facts = {"code": code[:40], "message": message[:500]}
    _tell_run(run_id, device, type="failed", round=round_number, **facts)


def gone(device: Device) -> None:
    """The device's socket closed while it was reserved."""
    held = device.reservations.filter(released_at__isnull=True)
    held.update(ready_at=None)
    for run_id in held.values_list("run_id", flat=True):
        _tell_run(run_id, device, type="gone", final=False)


def settle(run: Run, round_number: int, device: Device, to: str, **fields: Any) -> None:
    """Close a participation as accepted, rejected, late or lost."""
    mine = Participation.objects.filter(run=run, round_number=round_number, device=device)
    if to == Status.LOST:
        # A round that closes while the owner is back loses nothing by the device's fault.
        parked = When(status=Status.PARKED, then=Value("owner-returned"))
        fields["reason_code"] = Case(parked, default=Value(fields.get("reason_code", "")))
    if not mine.filter(status__in=lifecycle.sources(Participation, to)).update(
        status=to, finished_at=timezone.now(), **fields
    ):
        return
    _tell(
        run.job_id,
        device,
        round_number,
        to,
        examples=fields.get("examples"),
        seconds=fields.get("seconds"),
        reason=fields.get("reason", ""),
    )


def sent_again(run: Run, round_number: int, device: Device, attempts: int) -> None:
    """The same round was sent once more, since the device lost it."""
    mine = Participation.objects.filter(run=run, round_number=round_number, device=device)
    mine.filter(status__in=Participation.ACTIVE).update(status=Status.SELECTED, attempts=attempts)


def _tell_run(run_id: int, device: Device, **facts: Any) -> None:
    """The socket's device may have been read before the engine gave it a node, and a node never changes."""
    node = device.node_id or Device.objects.values_list("node_id", flat=True).get(pk=device.pk)
    events.tell_run(run_id, node=node, **facts)


def _tell(job_id: int, device: Device, round_number: int, status: str, **facts: Any) -> None:
    events.participation_changed(
        job_id,
        device=str(device.pk),
        device_name=device.name,
        round=round_number,
        status=str(status),
        **facts,
    )
