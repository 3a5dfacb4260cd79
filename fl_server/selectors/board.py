"""Who does what right now: the devices of a job's round, and what each device of the fleet works on."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Max, Prefetch, QuerySet, Sum

from fl_server import roles
from fl_server.models import Device, Participation, Reservation, TrainingJob

NOT_ITS_OWN = ("run-ended", "owner-returned")
READY, RESERVED, FAILED = "ready", "reserved", "failed"


@dataclass(frozen=True)
class Row:
    device: Device
    status: str
    rows: int | None = None
    reason: str = ""
    seconds: float = 0.0
    choice: str = ""

    @property
    def working(self) -> bool:
        return self.status in Participation.ACTIVE


@dataclass(frozen=True)
class Board:
    round: int
    rows: list[Row]


def of(job: TrainingJob) -> Board:
    """The newest round of the newest run; before its first round, the devices that get ready for it."""
    run = job.runs.order_by("-number").first()
    if run is None:
        return Board(0, [])
    lent = list(run.reservations.select_related("device").order_by("partition"))
    dealt = {reservation.device_id: reservation for reservation in lent}
    number = run.participations.aggregate(newest=Max("round_number"))["newest"]
    if number is None:
        return Board(run.first_round, [_lent(r) for r in lent if r.released_at is None])
    parts = run.participations.filter(round_number=number).select_related("device").order_by("device__name")
    return Board(number, [_taking_part(part, dealt.get(part.device_id)) for part in parts])


def _lent(reservation: Reservation) -> Row:
    status = FAILED if reservation.problem else READY if reservation.ready_at else RESERVED
    rows, problem = reservation.rows, reservation.problem
    return Row(reservation.device, status, rows, problem, choice=_choice(reservation))


def _taking_part(part: Participation, reservation: Reservation | None) -> Row:
    rows = part.examples or (reservation.rows if reservation else None)
    choice = _choice(reservation) if reservation else ""
    return Row(part.device, part.status, rows, part.reason, part.seconds, choice)


def _choice(reservation: Reservation) -> str:
    """Why the device was taken, as a sentence."""
    return str(reservation.choice.get("sentence", ""))


def with_work(devices: QuerySet[Device]) -> QuerySet[Device]:
    """Adds `lent`, the reservation a device holds now, as a list of none or one."""
    held = Reservation.objects.filter(released_at__isnull=True).select_related("run__job")
    return devices.prefetch_related(Prefetch("reservations", queryset=held, to_attr="lent"))


def recent_work(device: Device, most: int = 25) -> QuerySet[Participation]:
    return recent(device)[:most]


def recent(device: Device) -> QuerySet[Participation]:
    return device.participations.select_related("run__job").order_by("-created_at")


def troubles(device: Device, most: int = 5) -> QuerySet[Participation]:
    """The last rounds in which its work was lost or refused, but for what people or the platform did."""
    bad = (Participation.Status.REJECTED, Participation.Status.LOST, Participation.Status.LATE)
    return recent(device).filter(status__in=bad).exclude(reason_code__in=NOT_ITS_OWN)[:most]


def energy(device: Device) -> float | None:
    """Watt-hours of all its rounds that it could measure; None where it never could."""
    measured: float | None = device.participations.aggregate(sum=Sum("energy_wh"))["sum"]
    return measured


def may_change(job: TrainingJob, user: Any) -> bool:
    """Whether to offer the buttons; the service decides again."""
    return roles.is_admin(user) or (job.owner_id == user.pk and roles.may_submit(user))
