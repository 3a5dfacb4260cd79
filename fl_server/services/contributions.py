"""The ledger: what each accepted answer gave, noted in the transaction that commits its round."""

from django.utils import timezone

from fl_server.models import Contribution, Participation, Run

MOST_WATTS = 3000.0  # of one machine; what would be more is not believed


def record(run: Run, round_number: int) -> int:
    """Note the accepted answers of a round that is being committed; how many there are.

    A participation has one row at most, so noting a round again adds nothing.
    """
    accepted = Participation.objects.filter(
        run=run, round_number=round_number, status=Participation.Status.ACCEPTED
    )
    new = accepted.filter(contribution__isnull=True).select_related("device").order_by("pk")
    now = timezone.now()
    rows = [
        Contribution(
            participation=part,
            device=part.device,
            owner_id=part.device.owner_id,
            job_id=run.job_id,
            job_name=run.job.name,
            round_number=round_number,
            at=part.finished_at or now,
            examples=part.examples,
            seconds=_seconds(part),
            energy_wh=_energy(part),
        )
        for part in new
    ]
    return len(Contribution.objects.bulk_create(rows))


def _seconds(part: Participation) -> float:
    """What the device measured of its own work, at most as long as its answer took; else just that."""
    if part.train_seconds is None:
        return part.seconds
    own = part.train_seconds + (part.transfer_seconds or 0.0)
    return min(own, part.seconds) if part.seconds else own


def _energy(part: Participation) -> float | None:
    """What the device measured, as far as a machine can use so much in that time."""
    if part.energy_wh is None:
        return None
    return min(part.energy_wh, _seconds(part) * MOST_WATTS / 3600)
