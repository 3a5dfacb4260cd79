"""What a device and the platform tell each other over the device's socket."""

import asyncio

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import transaction

from fl_server import events, roles
from fl_server.models import Device, Reservation, Run
from fl_server.services import runs
from tests.server.machines import (
    HELLO,
    TELEMETRY,
    Machine,
    code_for,
    in_loop,
    machine,
    presence,
    presence_becomes,
)
from tests.server.world import job, person

__all__ = ["machine"]
pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]
db = database_sync_to_async


def test_a_device_is_welcomed_says_hello_and_is_idle_until_it_hangs_up(machine: Machine) -> None:
    async def scenario() -> None:
        socket = await machine.opened()
        welcome = await socket.hear()
        assert (welcome["type"], welcome["device"], welcome["reservation"]) == (
            "welcome",
            str(machine.device.pk),
            None,
        )
        assert welcome["server_time"] > 0
        await socket.say(HELLO)
        await presence_becomes("idle")
        await socket.say(TELEMETRY | {"cpu": 12.5})
        await socket.leave()
        await presence_becomes("offline")

    in_loop(scenario)
    assert Device.objects.get().telemetry["cpu"] == 12.5


def test_a_reserved_device_finds_its_assignment_in_the_welcome_and_hears_the_next(machine: Machine) -> None:
    made = job(person("rosa", roles.RESEARCHER), "Night shift", "running")
    run = Run.objects.create(job=made, number=1, fence=1, partitions=2)
    Reservation.objects.create(run=run, device=machine.device, partition=1)

    async def scenario() -> None:
        socket = await machine.opened()
        welcome = await socket.hear()
        assert welcome["reservation"]["run"] == run.pk
        assert welcome["reservation"]["partition"]["index"] == 1
        await socket.say(HELLO)
        await socket.say({"type": "ready", "run": run.pk, "fence": 1})
        await presence_becomes("training")
        await db(runs.announce)(await db(run.reservations.get)())
        assert (await socket.hear())["type"] == "reserve"
        await db(events.tell_device)(machine.device.pk, type="wake", run=run.pk, round=1)
        assert await socket.hear() == {"type": "wake", "run": run.pk, "round": 1}
        assert await db(Reservation.objects.filter(ready_at__isnull=False).count)() == 1
        await socket.leave()

    in_loop(scenario)
    # A device that hung up is not ready any more.
    assert Reservation.objects.get().ready_at is None


def test_what_is_told_in_a_transaction_that_fails_is_never_heard(machine: Machine) -> None:
    def told_in_vain() -> None:
        with transaction.atomic():
            events.tell_device(machine.device.pk, type="wake", run=1, round=1)
            transaction.set_rollback(True)

    async def scenario() -> None:
        socket = await machine.welcomed()
        await db(told_in_vain)()
        assert await socket.receive_nothing(0.3)
        await socket.leave()

    in_loop(scenario)


def test_a_newer_socket_takes_over_and_the_older_ones_end_does_not_put_the_device_offline(
    machine: Machine,
) -> None:
    async def scenario() -> None:
        old = await machine.introduced()
        await presence_becomes("idle")
        new = await machine.welcomed()
        assert await old.closed() == 4409
        await new.say(HELLO)
        await new.say(TELEMETRY)
        await asyncio.sleep(0.2)
        await old.leave(4409)
        assert await db(presence)() == "idle"
        await new.leave()
        await presence_becomes("offline")

    in_loop(scenario)


def test_an_older_sockets_opening_that_is_heard_late_does_not_close_the_newer_one(machine: Machine) -> None:
    async def scenario() -> None:
        old = await machine.introduced()
        await old.leave()
        new = await machine.introduced()
        late = {"type": "socket.opened", "socket": await db(number)() - 1}
        await get_channel_layer().group_send(events.device_group(await db(key)()), late)
        await new.say({"type": "renew"})
        assert (await new.hear())["type"] == "certificate"
        assert await new.receive_nothing(0.2)
        await new.leave()

    def number() -> int:
        return Device.objects.get().socket

    def key() -> object:
        return Device.objects.get().pk

    in_loop(scenario)


def test_facts_about_a_run_that_is_not_its_own_change_nothing(machine: Machine) -> None:
    made = job(person("rosa", roles.RESEARCHER), "Night shift", "running")
    other = Machine(machine.identity_folder, "other")
    other.join(code_for(person("olga", roles.OWNER), person("alma", roles.ADMIN)))
    run = Run.objects.create(job=made, number=1, fence=1, partitions=1)
    Reservation.objects.create(run=run, device=other.device, partition=0)

    async def scenario() -> None:
        socket = await machine.introduced()
        await socket.say({"type": "ready", "run": run.pk, "fence": 1})
        await socket.say({"type": "progress", "run": run.pk, "round": 1, "phase": "training"})
        await socket.say({"type": "renew"})
        assert (await socket.hear())["type"] == "certificate"
        await socket.leave()

    in_loop(scenario)
    assert Reservation.objects.get().ready_at is None


def test_a_certificate_is_renewed_over_the_socket(machine: Machine) -> None:
    async def scenario() -> str:
        socket = await machine.introduced()
        await socket.say({"type": "renew"})
        answer = await socket.hear()
        await socket.leave()
        return answer["certificate"]

    assert in_loop(scenario).startswith("-----BEGIN CERTIFICATE")
