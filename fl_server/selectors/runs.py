"""Reads about runs, reservations and participations."""

from typing import Any

from django.db.models import F, QuerySet

from fl_server.models import Checkpoint, Device, Participation, Reservation, Run

SHOWN_PROBLEMS = 10
# How a device's own account of a failure begins; see fl_client.errors.
DIVERGED = "diverged:"


def active_reservations(run: Run) -> QuerySet[Reservation]:
    reservations = run.reservations.filter(released_at__isnull=True)
    return reservations.select_related("device", "run__job__owner").order_by("partition")


def rows_dealt(run: Run) -> dict[int, int]:
    """How many rows each node has that the run holds."""
    held = run.reservations.filter(released_at__isnull=True).exclude(device__node_id="")
    return {int(node): rows or 0 for node, rows in held.values_list("device__node_id", "rows")}


def active_reservation(device: Device) -> Reservation | None:
    """What the device is lent to now."""
    open_ones = device.reservations.filter(released_at__isnull=True, run__status__in=Run.ACTIVE)
    return open_ones.select_related("run__job__owner").first()


def assignment(reservation: Reservation) -> dict[str, Any]:
    """What the device is told to do; fl_client/assignment.py reads it."""
    run = reservation.run
    job = run.job
    spec = job.spec
    return {
        "run": run.pk,
        "fence": run.fence,
        "job": job.pk,
        "job_name": job.name,
        "researcher": job.owner.get_full_name() or job.owner.get_username(),
        "rounds": spec["rounds"],
        "model": spec["model"],
        "dataset": spec["dataset"],
        "partition": {
            "scheme": spec["partition"]["scheme"],
            "options": spec["partition"]["options"],
            "index": reservation.partition,
            "count": run.partitions,
        },
        "training": spec["training"],
        "seed": spec["seed"],
    }


def problems(run: Run, round_number: int | None = None) -> list[str]:
    """Why reserved devices can do nothing for a run, one sentence each; of a round, also what went wrong."""
    found: dict[str, list[str]] = {}
    for reservation in run.reservations.select_related("device").order_by("partition", "pk"):
        name, have, dealt = reservation.device.name, reservation.rows_found, reservation.rows
        if reservation.problem:
            found.setdefault(reservation.problem, []).append(name)
        elif have is not None and have != dealt:
            what = f"its copy of the dataset gives {have} rows where {dealt} were dealt."
            found.setdefault(what, []).append(name)
    if round_number is not None:
        for name, what in _went_wrong(run, round_number):
            found.setdefault(what, []).append(name)
    return [f"{', '.join(names)}: {what}" for what, names in found.items()][:SHOWN_PROBLEMS]


def diverged_on_devices(run: Run, round_number: int) -> bool:
    """Whether every answer of the round was that the training diverged."""
    answers = run.participations.filter(
        round_number=round_number, status__in=[Participation.Status.ACCEPTED, Participation.Status.REJECTED]
    ).values_list("status", "reason")
    rejected = Participation.Status.REJECTED
    return bool(answers) and all(s == rejected and why.startswith(DIVERGED) for s, why in answers)


def _went_wrong(run: Run, round_number: int) -> list[tuple[str, str]]:
    part = Participation.Status
    failed = run.participations.filter(
        round_number=round_number, status__in=[part.REJECTED, part.LATE, part.LOST]
    )
    able = failed.exclude(device__in=run.reservations.exclude(problem="").values("device"))
    return [(one.device.name, one.reason) for one in able.exclude(reason="").select_related("device")]


def latest_checkpoint(run: Run) -> Checkpoint | None:
    """The weights with which the run's first round starts."""
    return run.job.checkpoints.filter(round_number=run.first_round - 1).first()


def previous_partitions(job_id: int) -> tuple[int, dict[Any, int]]:
    """How the job's first run cut the dataset (0: not yet), and the part each device was last dealt."""
    runs = Run.objects.filter(job_id=job_id)
    count = runs.order_by("number").values_list("partitions", flat=True).first() or 0
    dealt = Reservation.objects.filter(run__in=runs).order_by("run__number")
    return count, dict(dealt.values_list("device_id", "partition"))


def past_norms(run: Run, rounds: int) -> list[tuple[int, float]]:
    """Round and length of the updates that went into the last rounds before this run."""
    first = run.first_round - rounds
    accepted = Participation.objects.filter(
        run__job=run.job_id,
        run__rounds__number=F("round_number"),
        status=Participation.Status.ACCEPTED,
        round_number__range=(first, run.first_round - 1),
        update_norm__isnull=False,
    )
    return list(accepted.order_by("round_number", "pk").values_list("round_number", "update_norm"))
