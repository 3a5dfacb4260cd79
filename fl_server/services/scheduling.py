"""Which job starts next, on which devices, and why the others wait."""

import logging
from typing import Any

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Exists, Max, OuterRef, Q
from django.utils import timezone

from fl_server import reasons, spec
from fl_server.exceptions import Conflict, InvalidSpec
from fl_server.models import Device, Reservation, Run, TrainingJob
from fl_server.selectors import runs as selectors
from fl_server.services import jobs, runs

logger = logging.getLogger(__name__)

SHOWN_REASONS = 20


def claim_next() -> list[Run]:
    """Start every queued job that its devices allow, the highest priority first."""
    claimed = []
    due = Q(not_before__isnull=True) | Q(not_before__lte=timezone.now())
    for job in TrainingJob.objects.filter(due, status=TrainingJob.Status.QUEUED).order_by(
        "-priority", "submitted_at"
    ):
        if Run.objects.filter(status__in=Run.ACTIVE).count() >= settings.MAX_RUNS:
            jobs.explain_waiting(
                job, {"sentence": f"{settings.MAX_RUNS} runs are active, which is the most allowed."}
            )
            continue
        try:
            run = _claim(job)
        except (Conflict, IntegrityError) as exc:
            logger.info("%s not claimed this time: %s", job, exc)
            continue
        if run:
            claimed.append(run)
    return claimed


def _claim(job: TrainingJob) -> Run | None:
    try:
        wanted = spec.parse(job.spec)
    except InvalidSpec as exc:  # it was valid once; the catalogue has changed since
        jobs.finish(job, TrainingJob.Status.FAILED, exc.code, exc.message)
        return None
    unfit: dict[str, str] = {}
    fitting = []
    for device in _candidates():
        reason = unfit_reason(device, wanted)
        if reason:
            unfit[device.name if device.name not in unfit else f"{device.name} ({device.pk})"] = reason
        else:
            fitting.append(device)
    needed = wanted.participation.min_devices
    if len(fitting) < needed:
        jobs.explain_waiting(job, _waiting(needed, len(fitting), unfit))
        return None
    cut, dealt = selectors.previous_partitions(job.pk)
    partitions = cut or wanted.partition.count or min(len(fitting), wanted.participation.max_devices)
    chosen = fitting[: min(wanted.participation.max_devices, partitions)]
    return runs.claim(job, deal(chosen, partitions, dealt), partitions)


def _candidates() -> list[Device]:
    """Every device that was not revoked; those that worked least recently first."""
    reserved = Reservation.objects.filter(device=OuterRef("pk"), released_at__isnull=True)
    devices = Device.objects.exclude(status=Device.Status.REVOKED).annotate(
        is_reserved=Exists(reserved), last_work=Max("reservations__reserved_at")
    )
    return sorted(devices, key=lambda d: (d.last_work is not None, d.last_work or d.enrolled_at, d.name))


def unfit_reason(device: Device, wanted: spec.JobSpec) -> str:
    """Why a device cannot take this job now; empty when it can."""
    needs = wanted.requirements
    hardware = device.hardware
    gpus = hardware.get("gpus") or []
    checks = (
        (device.status == Device.Status.PENDING, "waits for approval"),
        (device.status == Device.Status.REVOKED, "was revoked"),
        (not device.node_id, "is not yet registered with the engine"),
        (device.is_gone or device.is_silent, "is offline"),
        (not device.may_train or not device.may_start, reasons.general(device.decision_codes)),
        (getattr(device, "is_reserved", False), "works on another run"),
        (needs.gpu and not gpus, "has no GPU"),
        (hardware.get("cores", 0) < needs.min_cores, f"has fewer than {needs.min_cores} cores"),
        (
            hardware.get("ram_bytes", 0) < needs.min_ram_gb * 1e9,
            f"has less than {needs.min_ram_gb:g} GB of memory",
        ),
        (not needs.labels.items() <= device.labels.items(), "lacks a label that the job asks for"),
    )
    return next((reason for unfit, reason in checks if unfit), "")


def _waiting(needed: int, fit: int, unfit: dict[str, str]) -> dict[str, Any]:
    return {
        "sentence": f"Waits for devices: {needed} needed, {fit} fit now.",
        "needed": needed,
        "fit": fit,
        "unfit": dict(list(unfit.items())[:SHOWN_REASONS]),
        "unfit_more": max(0, len(unfit) - SHOWN_REASONS),
    }


def deal(devices: list[Device], partitions: int, dealt: dict[Any, int]) -> list[tuple[Device, int]]:
    """Give each device a partition of its own: the one that it had before where there is one."""
    holders: dict[int, Device] = {}
    for device in devices:
        partition = dealt.get(device.pk, partitions)
        # Two may have had the same one, each in a run without the other.
        if partition < partitions:
            holders.setdefault(partition, device)
    kept = {device: partition for partition, device in holders.items()}
    free = iter(sorted(set(range(partitions)) - set(holders)))
    return [(device, kept[device] if device in kept else next(free)) for device in devices]
