"""Where a person's notifications are posted. The secret that signs them is shown once."""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from fl_server import webhook
from fl_server.exceptions import Conflict, NotFound, TooManyRequests
from fl_server.models import Notification, Webhook
from fl_server.selectors import notifications as selectors
from fl_server.services import audit
from fl_server.services.notifications import check_has_role

Post = Callable[..., Awaitable[None]]


def save(user: Any, url: str) -> tuple[Webhook, str]:
    """Post to this address from now on, signed with a new secret, which only this call returns."""
    check_has_role(user)
    url = url.strip()
    host = webhook.checked(url, settings.WEBHOOK_HOSTS).host
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        facts = {"url": url, "secret": secret, "created_at": timezone.now()}
        saved, _ = Webhook.objects.update_or_create(user=user, defaults=facts)
        # The path of such an address is often a secret itself.
        audit.record(user, "webhook.save", f"user:{user.pk}", host=host)
    return saved, secret


def remove(user: Any) -> None:
    """Post nothing any more."""
    with transaction.atomic():
        if not Webhook.objects.filter(user=user).delete()[0]:
            raise NotFound("There is no webhook.")
        audit.record(user, "webhook.remove", f"user:{user.pk}")


def try_out(user: Any, *, post: Post = webhook.post) -> None:
    """Post a message without news, now; raises Conflict with the reason when it does not arrive."""
    known = selectors.webhook(user)
    if known is None:
        raise NotFound("There is no webhook.")
    busy = f"webhook-test:{user.pk}"
    if not cache.add(busy, 1, 2 * webhook.SECONDS):
        raise TooManyRequests("A test is under way; wait for its end.", retry_after=webhook.SECONDS)
    facts = {"id": None, "kind": "test", "title": "A test", "text": "", "url": settings.PUBLIC_URL}
    try:
        asyncio.run(_post(known, {**facts, "at": timezone.now().isoformat()}, post))
    except webhook.Undelivered as exc:
        raise Conflict(f"The test did not arrive. {exc}", code="webhook-failed") from exc
    finally:
        cache.delete(busy)


def send(target: Webhook, notification: Notification, post: Post) -> Awaitable[None]:
    """To be awaited: posts one notification."""
    path = f"{settings.PUBLIC_URL}{notification.path}" if notification.path else settings.PUBLIC_URL
    facts = {
        "id": notification.pk,
        "kind": notification.kind,
        "title": notification.title,
        "text": notification.text,
        "url": path,
        "at": notification.at.isoformat(),
    }
    return _post(target, facts, post)


async def _post(target: Webhook, facts: dict[str, Any], post: Post) -> None:
    body = json.dumps(facts, ensure_ascii=False).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Constellation",
        "X-Constellation-Timestamp": timestamp,
        "X-Constellation-Signature": webhook.signature(target.secret, timestamp, body),
    }
    await post(target.url, body, headers, listed=settings.WEBHOOK_HOSTS)
