"""Notifications on their way by mail and webhook.

A delivery that is due is claimed by moving its time ahead, so that two workers do not both send it and one
that dies while it sends leaves it to be sent again. It may therefore arrive twice: its `id` is the same.
"""

import asyncio
import logging
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import F
from django.utils import timezone

from fl_server import roles, webhook
from fl_server.models import Delivery, Webhook
from fl_server.services import webhooks
from fl_server.services.webhooks import Post

logger = logging.getLogger(__name__)

BACKOFF = tuple(timedelta(seconds=wait) for wait in (30, 120, 600, 3600, 21_600))
# Longer than a batch takes at worst: its budget, then one more mail and one more post.
CLAIMED_FOR = timedelta(minutes=2)
AT_ONCE = 20
BUDGET = 30.0  # seconds: the worker has other things to do
NOBODY = "There is no longer anybody to send it to."
SLOW = "The mail server is too slow."

Outcomes = list[tuple[Delivery, str]]  # with why it failed, or nothing


def send_due(now: datetime | None = None, *, post: Post = webhook.post) -> int:
    """Send what is due, within a bounded time; returns how many arrived."""
    until, arrived = time.monotonic() + BUDGET, 0
    while time.monotonic() < until and (claimed := _claim(now or timezone.now())):
        outcomes = _mail([d for d in claimed if d.way == Delivery.Way.EMAIL], until)
        outcomes += _post([d for d in claimed if d.way == Delivery.Way.WEBHOOK], post)
        for delivery, fault in outcomes:
            _note(delivery, fault, now or timezone.now())
        arrived += sum(not fault for _, fault in outcomes)
    return arrived


def _claim(now: datetime) -> list[Delivery]:
    due = Delivery.objects.filter(due_at__lte=now).order_by("due_at", "pk")
    found = due.select_related("notification__user__webhook")[:AT_ONCE]
    return [
        delivery
        for delivery in found
        if Delivery.objects.filter(pk=delivery.pk, due_at=delivery.due_at).update(
            due_at=now + CLAIMED_FOR, attempts=F("attempts") + 1
        )
    ]


def _note(delivery: Delivery, fault: str, now: datetime) -> None:
    row = Delivery.objects.filter(pk=delivery.pk)
    if not fault:
        row.update(delivered_at=now, due_at=None, error="")
        return
    attempt = delivery.attempts  # those before this one
    over = fault == NOBODY or attempt >= len(BACKOFF)
    row.update(due_at=None if over else now + BACKOFF[attempt], error=fault[:300])
    if over:
        logger.warning("%s given up: %s", delivery, fault)


def _mail(claimed: list[Delivery], until: float) -> Outcomes:
    """All through one connection; where that does not open, none of them waits for it again."""
    if not claimed:
        return []
    connection = mail.get_connection()
    try:
        connection.open()
    except OSError as exc:  # SMTPException is one
        return [(delivery, f"The mail server does not answer: {exc}") for delivery in claimed]
    try:
        return [(d, SLOW if time.monotonic() > until else _mailed(d, connection)) for d in claimed]
    finally:
        connection.close()


def _mailed(delivery: Delivery, connection: BaseEmailBackend) -> str:
    told = delivery.notification
    if not (roles.of(told.user) and told.user.email):
        return NOBODY
    parts = (
        told.text,
        f"{settings.PUBLIC_URL}{told.path}",
        f"What you are told, and how: {settings.PUBLIC_URL}/notifications/choices/",
    )
    body = "\n\n".join(part for part in parts if part) + "\n"
    message = mail.EmailMessage(told.title, body, None, [told.user.email], connection=connection)
    try:
        message.send()
    except (OSError, ValueError) as exc:
        return f"The mail server refuses it: {exc}"
    return ""


def _post(claimed: list[Delivery], post: Post) -> Outcomes:
    """All at the same time: one slow receiver holds up no other."""
    targets = [(delivery, _target(delivery)) for delivery in claimed]
    lost: Outcomes = [(delivery, NOBODY) for delivery, target in targets if target is None]
    open_ = [(delivery, target) for delivery, target in targets if target is not None]
    return lost + (asyncio.run(_post_all(open_, post)) if open_ else [])


def _target(delivery: Delivery) -> Webhook | None:
    user = delivery.notification.user
    target: Webhook | None = getattr(user, "webhook", None)
    return target if roles.of(user) else None


async def _post_all(targets: list[tuple[Delivery, Webhook]], post: Post) -> Outcomes:
    async def attempt(delivery: Delivery, target: Webhook) -> str:
        try:
            await webhooks.send(target, delivery.notification, post)
        except webhook.Undelivered as exc:
            return str(exc)
        return ""

    faults = await asyncio.gather(*(attempt(*pair) for pair in targets))
    return [(delivery, fault) for (delivery, _), fault in zip(targets, faults, strict=True)]
