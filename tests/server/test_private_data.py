"""The server learns names and counts of private data, never a row."""

import pytest

from fl_server.device_messages import PrivateData
from fl_server.models import AuditEvent, Device
from fl_server.services import devices, private_data
from tests.server.machines import HELLO, Machine, in_loop, machine, presence_becomes
from tests.server.world import World, client

__all__ = ["machine"]
pytestmark = [pytest.mark.services, pytest.mark.django_db]

PHOTOS = {"name": "photos", "kind": "image-folder", "rows": 70, "classes": {"cat": 40, "dog": 30}}


def told(*sets: dict) -> list[PrivateData]:
    return [PrivateData.model_validate(each) for each in sets]


def test_what_changes_is_stored_and_audited_once(world: World) -> None:
    assert private_data.changed(world.training, told(PHOTOS)) is True
    assert private_data.changed(world.training, told(PHOTOS)) is False
    assert private_data.changed(world.training, []) is True
    assert Device.objects.get(pk=world.training.pk).private_data == []
    events = AuditEvent.objects.filter(action="device.data").order_by("pk")
    assert [event.data["after"] for event in events] == [{"photos": 70}, {}]
    assert {event.actor for event in events} == {world.owner}


def test_a_revoked_device_registers_nothing(world: World) -> None:
    devices.revoke(world.training, world.admin, "sold")
    assert private_data.changed(world.training, told(PHOTOS)) is False


def test_those_who_see_the_device_see_its_data(world: World) -> None:
    private_data.changed(world.training, told(PHOTOS))
    [shown] = client(world.viewer).get(f"/api/v1/devices/{world.training.pk}").json()["private_data"]
    assert shown == PHOTOS | {"columns": []}


@pytest.mark.django_db(transaction=True)
def test_a_device_tells_of_its_data_with_hello_and_when_it_changes(machine: Machine) -> None:
    table = {"name": "sales", "kind": "csv", "rows": 10, "columns": ["day", "sum"]}

    async def scenario() -> None:
        socket = await machine.welcomed()
        await socket.say(HELLO | {"data": [PHOTOS]})
        await presence_becomes("idle")
        await socket.say({"type": "data", "data": [table]})
        await socket.leave()
        await presence_becomes("offline")

    in_loop(scenario)
    assert [each["name"] for each in Device.objects.get().private_data] == ["sales"]
    assert AuditEvent.objects.filter(action="device.data").count() == 2
