"""A reinstalled machine takes the place of its former self, history and all."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server.exceptions import Conflict, NotAllowed, NotFound
from fl_server.models import AuditEvent, ClientLog, Device, Participation, Reservation, TelemetryBucket
from fl_server.selectors import devices as selectors
from fl_server.services import devices, replacement
from tests.server.world import World, client, device

pytestmark = [pytest.mark.services, pytest.mark.django_db]

MACHINE = "f" * 64
PHOTOS = {"name": "photos", "kind": "image-folder", "columns": [], "rows": 3, "classes": {}}


@pytest.fixture
def new(world: World) -> Device:
    """The machine of otto-desk, joined again after its disk was wiped."""
    facts = {"machine_hash": MACHINE, "private_data": [PHOTOS], "disconnected_at": timezone.now()}
    Device.objects.filter(pk=world.training.pk).update(**facts)
    world.training.refresh_from_db()
    return device(world.owner, "otto-desk-2", machine_hash=MACHINE, labels={"room": "attic", "floor": "5"})


def bucket(of: Device, start: Any) -> TelemetryBucket:
    numbers = {"means": {}, "highest": {}, "lowest": {}, "count": 1}
    return TelemetryBucket.objects.create(device=of, start=start, span=60, **numbers)


def address(of: Device) -> str:
    return f"/api/v1/devices/{of.pk}/replace"


def test_the_same_machine_of_the_same_owner_is_offered(world: World, new: Device) -> None:
    assert list(selectors.replaceable_by(new)) == [world.training]
    assert list(selectors.replaceable_by(world.training)) == []


def test_a_device_that_is_connected_is_no_former_self_but_shares_the_machine(
    world: World, new: Device
) -> None:
    Device.objects.filter(pk=world.training.pk).update(disconnected_at=None, last_seen=timezone.now())
    assert list(selectors.replaceable_by(new)) == []


def test_a_machine_without_an_id_is_offered_nothing(world: World) -> None:
    assert list(selectors.replaceable_by(device(world.owner, "nameless"))) == []


def test_somebody_elses_device_is_never_offered_nor_named(world: World, new: Device) -> None:
    Device.objects.filter(pk=world.foreign_device.pk).update(machine_hash=MACHINE)
    assert world.foreign_device not in selectors.replaceable_by(new)
    with pytest.raises(NotFound):
        replacement.replace(world.foreign_device, new, world.admin)
    answer = client(world.owner).post(address(new), {"old": str(world.foreign_device.pk)}, format="json")
    assert answer.status_code == 404
    assert world.foreign_device.name not in answer.content.decode()


def test_the_history_moves_and_the_old_one_is_revoked(world: World, new: Device) -> None:
    now = timezone.now()
    bucket(world.training, now)
    ClientLog.objects.create(device=world.training)
    replacement.replace(world.training, new, world.owner)
    found, old = Device.objects.get(pk=new.pk), Device.objects.get(pk=world.training.pk)
    assert (found.name, found.labels) == ("otto-desk", {"room": "lab", "floor": "5"})
    assert found.private_data == [PHOTOS]
    assert (old.status, old.replaced_by) == (Device.Status.REVOKED, found)
    for model in (Participation, TelemetryBucket, ClientLog):
        assert set(model.objects.values_list("device", flat=True)) == {new.pk}
    assert selectors.why_revoked(old) == "replaced"
    assert AuditEvent.objects.get(action="device.replace").actor == world.owner


def test_an_interrupted_job_finds_the_part_that_the_machine_had(world: World, new: Device) -> None:
    replacement.replace(world.training, new, world.admin)
    assert Reservation.objects.get().device == new
    assert Reservation.objects.get().released_at is not None


def test_where_both_took_part_in_a_round_each_keeps_its_own_row(world: World, new: Device) -> None:
    run = world.running.runs.get()
    Participation.objects.create(run=run, round_number=2, device=new)
    start = timezone.now()
    bucket(world.training, start), bucket(new, start)
    replacement.replace(world.training, new, world.admin)
    rounds = Participation.objects.values_list("device", "round_number")
    assert set(rounds) == {(new.pk, 1), (new.pk, 2), (world.training.pk, 2)}
    assert TelemetryBucket.objects.filter(device=new).count() == 1


def test_a_removed_device_can_be_replaced_too(world: World, new: Device) -> None:
    devices.revoke(world.training, None, "Not seen for 90 days.")
    replacement.replace(world.training, new, world.owner)
    assert Device.objects.get(pk=world.training.pk).replaced_by == new
    with pytest.raises(NotFound):
        replacement.replace(world.training, new, world.owner)


def test_no_machine_appears_twice_in_the_list_even_after_two_reinstallations(
    world: World, new: Device
) -> None:
    replacement.replace(world.training, new, world.owner)
    newer = device(world.owner, "otto-desk-3", machine_hash=MACHINE)
    replacement.replace(new, newer, world.owner)
    rows = client(world.owner).get("/api/v1/devices").json()["results"]
    assert [row["name"] for row in rows] == ["otto-desk", "otto-home"]
    assert rows[0]["id"] == str(newer.pk)
    removed = client(world.owner).get("/api/v1/devices", {"removed": "true"}).json()["results"]
    assert {row["replaced_by"] for row in removed} == {str(new.pk), str(newer.pk)}


def test_a_revoked_device_replaces_nothing(world: World, new: Device) -> None:
    devices.revoke(new, world.admin, "sold")
    with pytest.raises(Conflict):
        replacement.replace(world.training, new, world.admin)


@pytest.mark.parametrize("who", ["researcher", "viewer", "outsider"])
def test_others_replace_nothing(world: World, new: Device, who: str) -> None:
    with pytest.raises(NotAllowed):
        replacement.replace(world.training, new, world.people[who])
    assert Device.objects.get(pk=world.training.pk).status == Device.Status.APPROVED


@pytest.mark.parametrize(
    ("who", "status"), [("viewer", 403), ("researcher", 403), ("owner", 200), ("admin", 200)]
)
def test_the_api_replaces_for_those_who_may(world: World, new: Device, who: str, status: int) -> None:
    answer = client(world.people[who]).post(address(new), {"old": str(world.training.pk)}, format="json")
    assert answer.status_code == status
    assert AuditEvent.objects.filter(action="device.replace").exists() is (status == 200)


def test_the_new_device_keeps_working_under_its_own_key(world: World, new: Device) -> None:
    before = (new.identity_key, new.node_key)
    replacement.replace(world.training, new, world.owner)
    found = Device.objects.get(pk=new.pk)
    assert (found.identity_key, found.node_key) == before
    assert found.enrolled_at > timezone.now() - timedelta(minutes=5)


def test_what_the_platform_learned_of_the_machine_holds_on(world: World, new: Device) -> None:
    learnt = {"relative_speed": 1.5, "network_bytes_a_second": 2e6, "free_hours": [0.7] * 168}
    Device.objects.filter(pk=world.training.pk).update(**learnt)
    replacement.replace(world.training, new, world.admin)
    new.refresh_from_db()
    assert {name: getattr(new, name) for name in learnt} == learnt
