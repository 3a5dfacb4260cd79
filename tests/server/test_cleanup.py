"""Devices that stay away are warned of once, removed later, and welcome until then."""

import smtplib
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from fl_server.models import AuditEvent, Device, Reservation
from fl_server.services import cleanup, devices
from tests.server.cluster import heard
from tests.server.test_devices import hello
from tests.server.world import World, device

pytestmark = [pytest.mark.services, pytest.mark.django_db]

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def mails(world: World) -> list[Any]:
    for who in (world.admin, world.owner):
        who.email = f"{who.username}@example.org"
        who.save()
    return mail.outbox


def away(mine: Device, days: float) -> Device:
    Device.objects.filter(pk=mine.pk).update(last_seen=timezone.now() - timedelta(days=days))
    mine.refresh_from_db()
    return mine


def addressed(mails: list[Any]) -> list[list[str]]:
    return [message.to for message in mails]


def test_a_device_that_stays_away_is_warned_of_once(world: World, mails: list[Any]) -> None:
    mine = away(world.training, 77)
    assert cleanup.warn(timezone.now()) == [mine]
    assert cleanup.warn(timezone.now()) == []
    mine.refresh_from_db()
    assert (mine.status, mine.warned_at is not None) == ("approved", True)
    assert addressed(mails) == [["otto@example.org"], ["ada@example.org"]]
    assert "otto-desk" in mails[0].body
    assert "removed in 14 days" in mails[0].body
    assert AuditEvent.objects.filter(action="device.warn").count() == 1


def test_its_reservation_is_released_and_its_run_hears_it(world: World) -> None:
    away(world.training, 77)
    with heard() as payloads:
        cleanup.warn(timezone.now())
    assert Reservation.objects.get().released_at is not None
    assert "gone" in [payload.get("type") for payload in payloads]


def test_an_owner_of_many_gets_one_mail_and_so_do_the_admins(world: World, mails: list[Any]) -> None:
    for number in range(3):
        away(device(world.owner, f"attic-{number}"), 80)
    cleanup.sweep()
    assert addressed(mails) == [["otto@example.org"], ["ada@example.org"]]
    assert mails[0].body.count("attic-") == 3


@pytest.mark.parametrize("days", [0, 70, 75.9])
def test_a_device_that_was_seen_lately_enough_is_left_alone(
    world: World, mails: list[Any], days: float
) -> None:
    away(world.training, days)
    cleanup.sweep()
    assert mails == []


def test_without_a_mail_server_the_warning_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, mails: list[Any]
) -> None:
    def refuse(*_: Any) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    away(world.training, 77)
    with monkeypatch.context() as patch:
        patch.setattr(cleanup, "send_mail", refuse)
        assert cleanup.warn(timezone.now()) == []
    assert Device.objects.get(pk=world.training.pk).warned_at is None
    assert len(cleanup.warn(timezone.now())) == 1


def test_a_device_gone_for_the_configured_days_is_removed_two_weeks_after_the_warning(world: World) -> None:
    mine = away(world.training, 91)
    now = timezone.now()
    Device.objects.filter(pk=mine.pk).update(warned_at=now - 13 * DAY)
    assert cleanup.remove(now) == []
    Device.objects.filter(pk=mine.pk).update(warned_at=now - 15 * DAY)
    assert cleanup.remove(now) == [mine]
    assert Device.objects.get(pk=mine.pk).status == Device.Status.REVOKED
    assert AuditEvent.objects.get(action="device.revoke").data["reason"] == "Not seen for 90 days."
    assert cleanup.remove(now) == []


def test_a_platform_that_was_off_for_months_warns_before_it_removes(world: World) -> None:
    mine = away(world.training, 400)
    cleanup.sweep()
    cleanup.sweep()
    assert Device.objects.get(pk=mine.pk).status == Device.Status.APPROVED
    later = timezone.now() + 14 * DAY
    cleanup.sweep(later)
    assert Device.objects.get(pk=mine.pk).status == Device.Status.REVOKED


def test_a_device_that_was_never_seen_counts_from_its_admission(world: World, mails: list[Any]) -> None:
    Device.objects.filter(pk=world.pending.pk).update(enrolled_at=timezone.now() - 80 * DAY)
    assert [each.name for each in cleanup.warn(timezone.now())] == ["otto-home"]
    assert "last seen never" in mails[0].body


def test_a_device_that_returns_in_time_is_simply_there_again(world: World) -> None:
    mine = away(world.training, 77)
    cleanup.sweep()
    mine.refresh_from_db()
    devices.connected(mine, hello())
    found = Device.objects.get(pk=mine.pk)
    assert (found.presence, found.warned_at) == ("idle", None)
    assert AuditEvent.objects.filter(action="device.back").count() == 1
    cleanup.sweep(timezone.now() + 20 * DAY)
    assert Device.objects.get(pk=mine.pk).status == Device.Status.APPROVED
