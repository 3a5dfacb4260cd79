"""Mails and webhooks go out, are tried again, and are given up in the end."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.mail.backends.locmem import EmailBackend
from django.utils import timezone

from fl_server import tasks, webhook
from fl_server.exceptions import Conflict, NotFound, TooManyRequests
from fl_server.models import Delivery, Notification
from fl_server.services import deliveries, notifications, webhooks
from tests.server.receiver import Receiver, receiver
from tests.server.world import World

__all__ = ["receiver"]

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Kind = Notification.Kind


class BrokenBackend(EmailBackend):
    """A mail server that is away."""

    def open(self) -> bool:
        raise ConnectionRefusedError("nobody listens")


@pytest.fixture(autouse=True)
def trusted(settings: Any) -> None:
    settings.WEBHOOK_HOSTS = frozenset({"127.0.0.1"})


def posted(world: World, url: str) -> str:
    """Rosa is told by webhook; returns its secret."""
    _, secret = webhooks.save(world.researcher, url)
    notifications.choose(world.researcher, {"job-finished": {"webhook": True}})
    notifications.tell(world.researcher, Kind.JOB_FINISHED, "Done", "All rounds.", "/jobs/7/", fact="1")
    return secret


def mailed(world: World) -> None:
    world.researcher.email = "rosa@example.com"
    world.researcher.save()
    notifications.choose(world.researcher, {"job-finished": {"email": True}})
    notifications.tell(world.researcher, Kind.JOB_FINISHED, "Done", "All rounds.", "/jobs/7/", fact="1")


def later(seconds: float) -> Any:
    return timezone.now() + timedelta(seconds=seconds)


def test_a_webhook_brings_the_notification_signed(world: World, receiver: Receiver, settings: Any) -> None:
    secret = posted(world, receiver.url)
    assert deliveries.send_due() == 1
    headers, body = receiver.got[0]
    stamp = headers["X-Constellation-Timestamp"]
    expected = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Constellation-Signature"] == f"sha256={expected}"
    told = json.loads(body)
    assert (told["kind"], told["title"], told["text"]) == ("job-finished", "Done", "All rounds.")
    assert told["url"] == f"{settings.PUBLIC_URL}/jobs/7/"
    assert Delivery.objects.get().state == "arrived"
    assert deliveries.send_due(later(9999)) == 0
    assert len(receiver.got) == 1


def test_a_webhook_that_fails_once_arrives_half_a_minute_later(world: World, receiver: Receiver) -> None:
    posted(world, receiver.url)
    receiver.answers = [500, 200]
    assert deliveries.send_due() == 0
    sent = Delivery.objects.get()
    assert (sent.state, sent.attempts, sent.error) == ("on its way", 1, "It answers with status 500.")
    assert deliveries.send_due(later(20)) == 0
    assert deliveries.send_due(later(40)) == 1
    sent.refresh_from_db()
    assert (sent.state, sent.attempts, sent.error) == ("arrived", 2, "")
    assert json.loads(receiver.got[0][1])["id"] == json.loads(receiver.got[1][1])["id"]


def test_after_five_more_tries_over_hours_a_delivery_is_given_up_and_says_why(
    world: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    posted(world, receiver.url)
    receiver.answers = [503] * 10
    now, waits = timezone.now(), []
    for _ in range(6):
        deliveries.send_due(now)
        due = Delivery.objects.get().due_at
        waits.append(round((due - now).total_seconds()) if due else None)
        now = due or now
    assert waits == [30, 120, 600, 3600, 21_600, None]
    assert Delivery.objects.get().state == "given up"
    assert "given up: It answers with status 503." in caplog.text
    assert "secret" not in caplog.text


def test_a_refused_address_is_given_its_reason(world: World, settings: Any, receiver: Receiver) -> None:
    posted(world, receiver.url)
    settings.WEBHOOK_HOSTS = frozenset()
    deliveries.send_due()
    assert "CONSTELLATION_WEBHOOK_HOSTS" in Delivery.objects.get().error
    assert receiver.got == []


def test_what_was_removed_or_whose_person_left_is_sent_no_more(world: World, receiver: Receiver) -> None:
    posted(world, receiver.url)
    webhooks.remove(world.researcher)
    deliveries.send_due()
    assert (Delivery.objects.get().state, receiver.got) == ("given up", [])


def test_slow_receivers_wait_together(world: World) -> None:
    posted(world, "https://hooks.example/x")
    for number in range(2, 6):
        notifications.tell(world.researcher, Kind.JOB_FINISHED, "Done", fact=str(number))
    under_way, most = 0, 0

    async def slow(*_: Any, **__: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.05)
        under_way -= 1

    assert deliveries.send_due(post=slow) == 5
    assert most == 5


def test_a_delivery_that_a_dead_worker_held_is_sent_after_its_claim(world: World, receiver: Receiver) -> None:
    posted(world, receiver.url)
    assert len(deliveries._claim(timezone.now())) == 1
    assert deliveries._claim(timezone.now()) == []
    assert deliveries.send_due(later(121)) == 1


def test_a_mail_says_what_happened_and_where_to_look(world: World, settings: Any) -> None:
    mailed(world)
    assert deliveries.send_due() == 1
    sent = mail.outbox[0]
    assert (sent.subject, sent.to) == ("Done", ["rosa@example.com"])
    assert "All rounds." in sent.body
    assert f"{settings.PUBLIC_URL}/jobs/7/" in sent.body


def test_a_mail_server_that_is_away_is_asked_again(world: World, settings: Any) -> None:
    mailed(world)
    working = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = f"{__name__}.BrokenBackend"
    assert deliveries.send_due() == 0
    assert Delivery.objects.get().error.startswith("The mail server does not answer")
    settings.EMAIL_BACKEND = working
    assert deliveries.send_due(later(40)) == 1
    assert len(mail.outbox) == 1


def test_news_ask_for_their_delivery_once_they_are_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("fl_server.kick.current_app.send_task", lambda task, *_, **__: asked.append(task))
    with django_capture_on_commit_callbacks(execute=True):
        mailed(world)
        assert asked == []
    assert asked == ["fl_server.tasks.deliver"]


def test_the_task_sends_what_is_due_and_lets_only_one_worker_do_so(world: World) -> None:
    mailed(world)
    assert tasks.cache.add(tasks.DELIVERING, 1, 60)
    tasks.deliver()
    assert mail.outbox == []
    tasks.cache.delete(tasks.DELIVERING)
    tasks.deliver()
    assert len(mail.outbox) == 1


def test_a_test_tells_at_once_whether_it_arrives(world: World, receiver: Receiver) -> None:
    with pytest.raises(NotFound):
        webhooks.try_out(world.researcher)
    webhooks.save(world.researcher, receiver.url)
    webhooks.try_out(world.researcher)
    assert json.loads(receiver.got[0][1])["kind"] == "test"
    receiver.answers = [500]
    with pytest.raises(Conflict, match="status 500") as caught:
        webhooks.try_out(world.researcher)
    assert caught.value.code == "webhook-failed"


def test_a_person_has_one_test_under_way_at_a_time(world: World, receiver: Receiver) -> None:
    webhooks.save(world.researcher, receiver.url)

    assert cache.add(f"webhook-test:{world.researcher.pk}", 1, 5)
    with pytest.raises(TooManyRequests):
        webhooks.try_out(world.researcher)
    cache.delete(f"webhook-test:{world.researcher.pk}")
    webhooks.try_out(world.researcher)
    assert len(receiver.got) == 1


def test_a_new_address_has_a_new_secret(world: World, receiver: Receiver) -> None:
    secrets = {webhooks.save(world.researcher, receiver.url)[1] for _ in range(2)}
    assert len(secrets) == 2


def test_no_error_shows_the_address(world: World) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise webhook.Undelivered("The connection failed.")

    posted(world, "https://hooks.example/path-that-is-a-secret")
    deliveries.send_due(post=fail)
    assert "secret" not in Delivery.objects.get().error
