"""The ledger of contributions, summed up and row by row."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncMonth

from fl_server import roles
from fl_server.models import Contribution

ROWS_AT_ONCE = 1000


class GroupBy(StrEnum):
    OWNER = "owner"
    DEVICE = "device"
    JOB = "job"
    MONTH = "month"


@dataclass(frozen=True)
class Total:
    """Of one group. `energy_wh` is of the `energy_known` rows that know it, and None where none does."""

    key: str
    name: str
    owner: str
    rows: int
    examples: int
    seconds: float
    energy_wh: float | None
    energy_known: int


def visible_to(user: Any) -> QuerySet[Contribution]:
    """Observers see the whole ledger, an owner what the own devices gave, everybody else nothing."""
    if roles.may_observe(user):
        return Contribution.objects.all()
    if roles.OWNER in roles.of(user):
        return Contribution.objects.filter(owner=user)
    return Contribution.objects.none()


def of_month(rows: QuerySet[Contribution], month: datetime | None) -> QuerySet[Contribution]:
    """Those of the month (UTC) that begins then; all without one."""
    if month is None:
        return rows
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return rows.filter(at__gte=month, at__lt=following)


def totals(rows: QuerySet[Contribution], group: GroupBy) -> list[Total]:
    """One for each group, whoever gave most device time first; months in their order."""
    keys = {
        GroupBy.OWNER: {"key": F("owner"), "name": F("owner__username")},
        GroupBy.DEVICE: {"key": F("device"), "name": F("device__name"), "whose": F("owner__username")},
        GroupBy.JOB: {"key": F("job"), "name": F("job_name")},
        GroupBy.MONTH: {"key": TruncMonth("at", tzinfo=UTC)},
    }[group]
    summed = (
        rows.order_by()
        .values(**keys)
        .annotate(
            rows=Count("pk"),
            sum_examples=Sum("examples"),
            sum_seconds=Sum("seconds"),
            sum_energy=Sum("energy_wh"),
            energy_known=Count("energy_wh"),
        )
    )
    ordered = summed.order_by("-key") if group is GroupBy.MONTH else summed.order_by("-sum_seconds", "key")
    return [_total(row, group) for row in ordered]


def _total(row: dict[str, Any], group: GroupBy) -> Total:
    month = group is GroupBy.MONTH
    key = f"{row['key']:%Y-%m}" if month else "" if row["key"] is None else str(row["key"])
    return Total(
        key=key,
        name=key if month else row["name"],
        owner=row.get("whose", ""),
        rows=row["rows"],
        examples=row["sum_examples"],
        seconds=row["sum_seconds"],
        energy_wh=row["sum_energy"],
        energy_known=row["energy_known"],
    )


def months(rows: QuerySet[Contribution]) -> list[datetime]:
    """Those in which there is something, the newest first."""
    return list(rows.order_by().datetimes("at", "month", order="DESC", tzinfo=UTC))


def one_by_one(rows: QuerySet[Contribution]) -> Iterator[Contribution]:
    """Every row, the oldest first, a page at a time: no query stays open for as long as a reader reads."""
    rows = rows.select_related("owner", "device").order_by("pk")
    last = 0
    while page := list(rows.filter(pk__gt=last)[:ROWS_AT_ONCE]):
        yield from page
        last = page[-1].pk
