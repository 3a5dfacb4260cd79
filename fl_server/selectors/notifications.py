"""What people were told, and how they want to be told."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet

from fl_server.models import Delivery, Notification, NotificationChoice, Webhook

Kind: Any = Notification.Kind


@dataclass(frozen=True)
class Ways:
    """How a person hears of one kind. Without `page` it comes in as read: the bell does not count it."""

    page: bool = True
    email: bool = False
    webhook: bool = False


# Of those who chose nothing.
DEFAULTS = {kind: Ways(email=kind in (Kind.JOB_FAILED, Kind.DEVICE_LOST)) for kind in Kind}


def of(user: Any) -> QuerySet[Notification]:
    return Notification.objects.filter(user=user)


def unread(user: Any) -> int:
    return of(user).filter(read_at__isnull=True).count()


def unread_of(user_ids: Iterable[int]) -> dict[int, int]:
    """How many notifications each of them has not read; all are named."""
    ids = set(user_ids)
    rows = Notification.objects.filter(user_id__in=ids, read_at__isnull=True).order_by()
    found = dict(rows.values_list("user_id").annotate(n=Count("pk")))
    return {user_id: found.get(user_id, 0) for user_id in ids}


def choices(user: Any) -> dict[str, Ways]:
    """Every kind and its ways."""
    chosen = ways_of({user.pk})
    return {kind.value: chosen.get((user.pk, kind.value), DEFAULTS[kind]) for kind in Kind}


def ways_of(user_ids: Collection[int]) -> dict[tuple[int, str], Ways]:
    """What they chose, by person and kind; what they did not choose is left out."""
    rows = NotificationChoice.objects.filter(user_id__in=user_ids)
    return {(row.user_id, row.kind): Ways(row.page, row.email, row.webhook) for row in rows}


def webhook(user: Any) -> Webhook | None:
    return Webhook.objects.filter(user=user).first()


def deliveries(user: Any) -> QuerySet[Delivery]:
    """What went out to this person by mail and webhook, or did not, the newest first."""
    rows = Delivery.objects.filter(notification__user=user).select_related("notification")
    return rows.order_by("-pk")
