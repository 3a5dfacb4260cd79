from datetime import timedelta

import pytest
from django.utils import timezone

from fl_server import device_messages, events, kick, roles
from fl_server.exceptions import Conflict, NotAllowed
from fl_server.models import AuditEvent, Device
from fl_server.selectors import devices as selectors
from fl_server.services import devices
from tests.server.machines import HELLO, TELEMETRY
from tests.server.world import World, device, person

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def told(monkeypatch) -> list[tuple]:
    """Everything that was told: to the device, and to those who watch it."""
    heard: list[tuple] = []
    monkeypatch.setattr(events, "tell_device", lambda pk, **message: heard.append(("device", pk, message)))
    monkeypatch.setattr(events, "tell_run", lambda pk, **message: heard.append(("run", pk, message)))
    monkeypatch.setattr(
        events, "device_changed", lambda pk, owner, **facts: heard.append(("live", pk, facts))
    )
    monkeypatch.setattr(kick, "tick", lambda: heard.append(("tick", None, {})))
    return heard


def hello(**changes) -> device_messages.Hello:
    return device_messages.Hello.model_validate(HELLO | changes)


def telemetry(**changes) -> device_messages.Telemetry:
    return device_messages.Telemetry.model_validate(TELEMETRY | changes)


def live(told: list[tuple]) -> list[str]:
    return [facts["presence"] for kind, _, facts in told if kind == "live" and "presence" in facts]


def test_an_admin_approves_a_pending_device_once(world: World, told) -> None:
    devices.approve(world.pending, world.admin)
    assert Device.objects.get(pk=world.pending.pk).status == Device.Status.APPROVED
    assert ("tick", None, {}) in told
    assert live(told) == ["offline"]
    with pytest.raises(Conflict):
        devices.approve(world.pending, world.admin)
    assert AuditEvent.objects.filter(action="device.approve").count() == 1


@pytest.mark.parametrize("who", ["owner", "researcher", "viewer", "outsider"])
def test_nobody_else_approves(world: World, who: str) -> None:
    with pytest.raises(NotAllowed):
        devices.approve(world.pending, world.people[who])


@pytest.mark.parametrize("who", ["admin", "owner"])
def test_admins_and_the_owner_revoke_and_the_device_hears_it_and_is_released(world: World, told, who) -> None:
    devices.revoke(world.training, world.people[who], "sold")
    stored = Device.objects.get(pk=world.training.pk)
    assert stored.status == Device.Status.REVOKED
    assert stored.revoked_at is not None
    assert not stored.reservations.filter(released_at__isnull=True).exists()
    assert ("device", stored.pk, {"type": "revoked", "reason": "sold"}) in told
    assert live(told)[-1] == "revoked"


@pytest.mark.parametrize("who", ["researcher", "viewer", "outsider"])
def test_others_do_not_revoke(world: World, who: str) -> None:
    with pytest.raises(NotAllowed):
        devices.revoke(world.training, world.people[who], "no")


def test_an_owner_does_not_revoke_somebody_elses_device(world: World) -> None:
    with pytest.raises(NotAllowed):
        devices.revoke(world.foreign_device, world.owner, "no")


def test_a_connected_device_is_idle_and_its_hardware_known(world: World, told) -> None:
    mine = device(world.owner, "new")
    devices.connected(mine, hello())
    stored = Device.objects.get(pk=mine.pk)
    assert stored.presence == "idle"
    assert stored.hardware["cores"] == 4
    assert live(told) == ["idle"]
    assert ("tick", None, {}) in told


def test_the_owners_pause_shows_with_its_reason_and_its_end_kicks_the_tick(world: World, told) -> None:
    mine = device(world.owner, "new")
    devices.connected(mine, hello(decision={"allowed": False, "reason": "paused by its owner"}))
    assert mine.presence == "paused"
    assert mine.decision_reason == "paused by its owner"
    told.clear()
    devices.sign_of_life(mine, telemetry())
    assert live(told) == ["idle"]
    assert ("tick", None, {}) in told
    told.clear()
    devices.sign_of_life(mine, telemetry())
    assert ("tick", None, {}) not in told


def test_a_device_goes_stale_by_itself_and_returns_with_a_sign_of_life(world: World, told, settings) -> None:
    mine = device(world.owner, "new")
    devices.connected(mine, hello())
    silent = timezone.now() - timedelta(seconds=settings.STALE_AFTER + 1)
    Device.objects.filter(pk=mine.pk).update(last_seen=silent)
    mine.refresh_from_db()
    assert mine.presence == "stale"
    devices.sign_of_life(mine, telemetry(cpu=50.0))
    stored = Device.objects.get(pk=mine.pk)
    assert stored.presence == "idle"
    assert stored.telemetry["cpu"] == 50.0


def test_a_closed_socket_puts_the_device_offline_unless_a_newer_one_took_over(world: World, told) -> None:
    mine = device(world.owner, "new")
    old, new = devices.opened(mine), devices.opened(mine)
    devices.connected(mine, hello())
    assert devices.disconnected(mine, old) is False
    assert Device.objects.get(pk=mine.pk).presence == "idle"
    assert devices.disconnected(mine, new) is True
    assert Device.objects.get(pk=mine.pk).presence == "offline"
    assert live(told)[-1] == "offline"


def test_a_run_hears_that_its_device_is_gone(world: World, told) -> None:
    devices.connected(world.training, hello())
    devices.disconnected(world.training, 0)
    assert [message["type"] for kind, _, message in told if kind == "run"] == ["gone"]


def test_a_revoked_device_cannot_write_its_facts_any_more(world: World, told) -> None:
    stale_copy = Device.objects.get(pk=world.training.pk)
    devices.revoke(world.training, world.admin, "sold")
    told.clear()
    devices.sign_of_life(stale_copy, telemetry(cpu=99.0))
    assert Device.objects.get(pk=world.training.pk).telemetry == {}
    assert live(told) == []


def test_registration_reaches_the_device_and_is_kept_when_it_was_revoked_meanwhile(
    world: World, told
) -> None:
    devices.registered(world.training, 2**63 + 5)
    assert ("device", world.training.pk, {"type": "approved", "node_id": str(2**63 + 5)}) in told
    stale_copy = Device.objects.get(pk=world.foreign_device.pk)
    devices.revoke(world.foreign_device, world.admin, "sold")
    told.clear()
    devices.registered(stale_copy, 7)
    assert Device.objects.get(pk=stale_copy.pk).node_id == "7"
    assert not [message for kind, _, message in told if kind == "device"]
    devices.unregistered(stale_copy)
    assert Device.objects.get(pk=stale_copy.pk).node_unregistered_at is not None


def test_observers_see_all_devices_owners_their_own_and_others_none(world: World) -> None:
    seen = {who: selectors.visible_to(user).count() for who, user in world.people.items()}
    assert seen == {"outsider": 0, "owner": 2, "viewer": 3, "researcher": 3, "admin": 3}
    inactive = person("gone", roles.ADMIN)
    inactive.is_active = False
    assert selectors.visible_to(inactive).count() == 0


def test_presence_of_a_list_costs_one_query(world: World, django_assert_num_queries) -> None:
    with django_assert_num_queries(2):
        found = {d.name: d.presence.value for d in selectors.visible_to(world.viewer)}
    assert found == {"otto-desk": "training", "otto-home": "pending", "olga-desk": "offline"}


def test_counts_name_every_presence(world: World, django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        found = selectors.counts(Device.objects.all())
    assert set(found) == set(Device.Presence.values)
    assert (found["training"], found["pending"], found["offline"], found["idle"]) == (1, 1, 1, 0)
