"""Signs of life are written together, at the latest in a moment, and shown only where somebody looks."""

import secrets
import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.utils import timezone

from fl_server import events
from fl_server.models import Device
from fl_server.services import devices, signs
from fl_server.services import telemetry as history
from tests.server.cluster import heard
from tests.server.test_devices import hello, telemetry
from tests.server.world import World, device

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "signs", signs.Signs())
    # Another test's minute may be over just now, and would be written here.
    monkeypatch.setattr(history, "recorder", history.Recorder())
    # Clearing the cache would empty the whole Redis, which may be somebody's.
    monkeypatch.setattr(caches["default"], "key_prefix", f"{settings.PREFIX}-{secrets.token_hex(4)}")


@pytest.fixture
def speaking(world: World) -> Device:
    mine = device(world.owner, "new")
    devices.connected(mine, hello())
    return mine


def stored(mine: Device) -> Device:
    return Device.objects.get(pk=mine.pk)


def test_a_sample_that_changes_nothing_costs_no_query(
    speaking: Device, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        devices.sign_of_life(speaking, telemetry(cpu=50.0))
    assert speaking.telemetry["cpu"] == 50.0


def test_the_signs_of_many_are_written_by_few_statements(
    world: World, django_assert_max_num_queries: Any
) -> None:
    fleet = [device(world.owner, f"d{n}") for n in range(30)]
    for each in fleet:
        devices.connected(each, hello())
        devices.sign_of_life(each, telemetry(cpu=40.0))
    with django_assert_max_num_queries(4):
        assert signs.flush() == 30
    assert {each.telemetry["cpu"] for each in Device.objects.filter(name__startswith="d")} == {40.0}
    assert signs.flush() == 0


def test_whoever_comes_after_a_moment_writes_what_waits(
    speaking: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices.sign_of_life(speaking, telemetry(cpu=50.0))
    later = time.monotonic() + signs.SECONDS
    monkeypatch.setattr(signs.time, "monotonic", lambda: later)
    devices.sign_of_life(speaking, telemetry(cpu=60.0))
    assert stored(speaking).telemetry["cpu"] == 60.0


@pytest.mark.parametrize(
    "decision",
    [
        {"allowed": False, "reason": "you are typing", "codes": ["in-use"]},
        {"allowed": True, "may_start": False, "reason": "it ends soon", "codes": ["no-new-work"]},
    ],
    ids=["stop", "nothing new"],
)
def test_a_change_of_decision_is_written_at_once(speaking: Device, decision: dict[str, Any]) -> None:
    devices.sign_of_life(speaking, telemetry(decision=decision))
    found = stored(speaking)
    assert (found.may_train, found.may_start) == (decision["allowed"], False)
    assert (found.decision_codes, found.decision_reason) == (decision["codes"], decision["reason"])


def test_the_sentence_and_its_end_follow_with_the_next_samples(speaking: Device) -> None:
    until = timezone.now() + timedelta(minutes=5)
    away = {"allowed": False, "codes": ["quiet-too-short"]}
    devices.sign_of_life(speaking, telemetry(decision=away | {"reason": "used 1 minute ago"}))
    later = away | {"reason": "used 2 minutes ago", "until": until.isoformat()}
    devices.sign_of_life(speaking, telemetry(decision=later))
    signs.flush()
    assert (stored(speaking).decision_reason, stored(speaking).decision_until) == (
        "used 2 minutes ago",
        until,
    )


def test_a_device_that_hangs_up_leaves_its_last_sample_and_stays_offline(speaking: Device) -> None:
    devices.sign_of_life(speaking, telemetry(cpu=50.0))
    devices.disconnected(speaking, 0)
    assert signs.flush() == 0
    assert (stored(speaking).presence, stored(speaking).telemetry["cpu"]) == ("offline", 50.0)


def test_a_revoked_devices_sign_is_dropped(speaking: Device, world: World) -> None:
    devices.sign_of_life(Device.objects.get(pk=speaking.pk), telemetry(cpu=50.0))
    devices.revoke(stored(speaking), world.admin, "sold")
    signs.flush()
    assert stored(speaking).telemetry == {}


def test_a_device_that_speaks_never_goes_stale_between_two_writes(speaking: Device, settings: Any) -> None:
    assert settings.STALE_AFTER > 2 * signs.SECONDS
    Device.objects.filter(pk=speaking.pk).update(last_seen=timezone.now() - timedelta(seconds=60))
    devices.sign_of_life(speaking, telemetry())
    signs.flush()
    assert stored(speaking).presence == "idle"


def test_samples_are_told_in_one_message_to_those_who_listen(
    speaking: Device, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = device(world.owner, "other")
    devices.connected(other, hello())
    events.listening(events.DEVICES)
    for each in (speaking, other):
        devices.sign_of_life(each, telemetry(cpu=50.0))
    sent: list[tuple[str, Any]] = []
    monkeypatch.setattr(events, "_publish", lambda kind, groups, payload: sent.append((groups[0], payload)))
    signs.flush()
    [(group, payloads)] = sent
    assert group == "devices"
    assert {payload["telemetry"]["cpu"] for payload in payloads} == {50.0}
    assert {payload["device"] for payload in payloads} == {str(speaking.pk), str(other.pk)}


def test_where_nobody_listens_nothing_is_told(speaking: Device) -> None:
    devices.sign_of_life(speaking, telemetry())
    with heard() as payloads:
        signs.flush()
    assert payloads == []


def test_the_devices_own_sentence_is_never_told_to_a_group(speaking: Device) -> None:
    decision = {"allowed": False, "reason": "Doom is running", "codes": ["program-running"]}
    with heard() as payloads:
        devices.sign_of_life(speaking, telemetry(decision=decision))
    told = [payload for payload in payloads if payload.get("event") == "device"]
    assert told
    assert "Doom" not in str(told)
    assert told[0]["reason"] == "runs a program that needs it whole"


def test_a_cache_that_is_away_costs_no_sign(speaking: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ConnectionError("no Redis")

    devices.sign_of_life(speaking, telemetry(cpu=50.0))
    monkeypatch.setattr(events.cache, "get_many", refuse)
    assert signs.flush() == 1
    assert stored(speaking).telemetry["cpu"] == 50.0
