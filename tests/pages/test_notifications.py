"""The bell, the list of notifications and the page on which people choose what they are told."""

import re
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from fl_server.models import Alert, AlertRule, Delivery, Notification, Webhook
from fl_server.selectors import notifications as selectors
from fl_server.services import notifications, webhooks
from tests.pages.visitor import browser
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def told(user: Any, title: str = "“Clothes” is done", path: str = "") -> Notification:
    notifications.tell(user, "job-finished", title, "All rounds are done.", path, fact=title)
    return Notification.objects.get(user=user, fact=title)


def text(user: Any, name: str) -> str:
    return browser(user).get(reverse(name)).content.decode()


def test_the_bell_counts_the_unread_on_every_page(world: World) -> None:
    assert 'data-unread="0" hidden' in text(world.researcher, "jobs")
    told(world.researcher)
    for name in ("jobs", "devices", "policy", "notifications"):
        assert 'data-unread="1"' in text(world.researcher, name)
    assert 'data-unread="0"' in text(world.viewer, "jobs")


def test_who_has_no_role_has_no_bell(world: World) -> None:
    assert "data-bell" not in text(world.outsider, "jobs")


def test_the_list_shows_the_own_ones_with_markup_as_text(world: World) -> None:
    told(world.researcher, "<script>alert(1)</script>")
    told(world.admin, "Somebody else's")
    page = text(world.researcher, "notifications")
    assert "&lt;script&gt;alert(1)" in page
    assert "Somebody else" not in page
    assert page.count("data-unread-row") == 1


def test_opening_one_marks_it_as_read_and_leads_to_its_page(world: World) -> None:
    notice = told(world.researcher, path=f"/jobs/{world.running.pk}/")
    answer = browser(world.researcher).post(reverse("notification-open", args=(notice.pk,)))
    assert answer["Location"] == reverse("job", args=(world.running.pk,))
    assert selectors.unread(world.researcher) == 0


def test_somebody_else_s_notification_does_not_exist(world: World) -> None:
    notice = told(world.researcher)
    answer = browser(world.admin).post(reverse("notification-open", args=(notice.pk,)))
    assert answer.status_code == 404
    assert selectors.unread(world.researcher) == 1


def test_all_can_be_marked_as_read(world: World) -> None:
    for number in range(3):
        told(world.researcher, f"Job {number}")
    browser(world.researcher).post(reverse("notification-read"))
    assert selectors.unread(world.researcher) == 0
    assert "data-unread-row" not in text(world.researcher, "notifications")


def test_the_choice_is_shown_and_saved(world: World) -> None:
    page = text(world.owner, "notification-choices")
    assert re.search(r'name="device-lost.email"[^>]* checked', page)
    assert not re.search(r'name="device-lost.webhook"[^>]* checked', page)
    assert "no mail address" in page
    chosen = {"device-lost.webhook": "on", "alert.page": "on"}
    browser(world.owner).post(reverse("notification-choices"), chosen)
    ways = selectors.choices(world.owner)
    assert ways["device-lost"] == selectors.Ways(page=False, email=False, webhook=True)
    assert ways["alert"] == selectors.Ways(page=True)


def test_the_secret_of_a_webhook_is_shown_once(world: World) -> None:
    client = browser(world.owner)
    answer = client.post(reverse("webhook"), {"url": "https://hooks.example/x"})
    secret = Webhook.objects.get().secret
    assert secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    page = client.get(reverse("notification-choices")).content.decode()
    assert secret not in page
    assert "https://hooks.example/x" in page


def test_an_address_inside_the_network_is_refused_with_the_reason(world: World) -> None:
    answer = browser(world.owner).post(reverse("webhook"), {"url": "https://169.254.169.254/latest"})
    assert answer.status_code == 400
    assert "no public address" in answer.content.decode()
    assert not Webhook.objects.exists()


def test_a_webhook_that_does_not_answer_a_test_says_why(world: World) -> None:
    webhooks.save(world.owner, "https://hooks.invalid/x")
    answer = browser(world.owner).post(reverse("webhook-test"), follow=True)
    assert "The test did not arrive." in answer.content.decode()


def test_a_webhook_can_be_removed(world: World) -> None:
    webhooks.save(world.owner, "https://hooks.example/x")
    browser(world.owner).post(reverse("webhook-remove"))
    assert not Webhook.objects.exists()


def test_what_was_given_up_says_so_with_its_reason(world: World) -> None:
    notice = told(world.owner)
    Delivery.objects.create(
        notification=notice, way="webhook", attempts=6, error="It answers with status 500."
    )
    page = text(world.owner, "notification-choices")
    assert "given up" in page
    assert "It answers with status 500." in page


def test_an_alert_shows_on_the_fleet_and_on_the_device_until_it_ends(world: World) -> None:
    rule = AlertRule.objects.create(metric="memory", threshold=95, clear_below=90)
    alert = Alert.objects.create(rule=rule, device=world.training, began_at=timezone.now(), value=97)
    device = reverse("device", args=(world.training.pk,))
    assert "Memory high" in text(world.owner, "devices")
    assert "Memory is high." in browser(world.viewer).get(device).content.decode()
    alert.cleared_at = timezone.now()
    alert.save()
    assert "Memory high" not in text(world.owner, "devices")
    assert "Memory is high." not in browser(world.viewer).get(device).content.decode()
