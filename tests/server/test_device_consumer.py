import asyncio
import json
from pathlib import Path

import pytest
from channels.db import database_sync_to_async
from django.db import transaction

from fl_server import events, roles
from fl_server.consumers import device as consumer
from fl_server.consumers.device import Allowance
from fl_server.models import Device, Reservation, Run
from fl_server.services import devices, runs
from tests.server.machines import HELLO, TELEMETRY, Machine, code_for, in_loop
from tests.server.world import job, person

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]
db = database_sync_to_async


@pytest.fixture
def machine(transactional_db: None, tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.join(code_for(person("otto", roles.OWNER), person("ada", roles.ADMIN)))
    return made


def presence() -> str:
    return Device.objects.get().presence.value


async def presence_becomes(wanted: str) -> None:
    for _ in range(100):
        if await db(presence)() == wanted:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"presence is {await db(presence)()}, not {wanted}")


def test_a_device_is_welcomed_says_hello_and_is_idle_until_it_hangs_up(machine: Machine) -> None:
    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
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


def test_a_stranger_hears_why_and_is_closed_with_4401(machine: Machine) -> None:
    async def scenario() -> None:
        for headers, code in (
            ({}, "signature-missing"),
            (machine.headers("GET", "/ws/other/"), "signature-bad"),
        ):
            socket = machine.socket(headers)
            await socket.open()
            assert (await socket.hear())["code"] == code
            assert await socket.closed() == 4401
            await socket.leave(4401)

    in_loop(scenario)
    assert Device.objects.get().last_seen is None


def test_a_clock_that_is_off_is_told_the_servers_time_on_the_socket(machine: Machine) -> None:
    async def scenario() -> None:
        machine.identity.clock.offset = 1000
        socket = machine.socket()
        await socket.open()
        refused = await socket.hear()
        assert refused["code"] == "clock-skew"
        machine.identity.clock.correct(refused["server_time"])
        assert await socket.closed() == 4401
        again = machine.socket()
        await again.open()
        assert (await again.hear())["type"] == "welcome"
        await again.leave()

    in_loop(scenario)


def test_revocation_reaches_an_open_socket_and_closes_it_with_4403_and_no_new_one_opens(
    machine: Machine,
) -> None:
    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        await socket.say(HELLO)
        await presence_becomes("idle")
        await db(devices.revoke)(machine.device, None, "stolen")
        assert await socket.hear() == {"type": "revoked", "reason": "stolen"}
        assert await socket.closed() == 4403
        await socket.leave(4403)
        again = machine.socket()
        await again.open()
        assert (await again.hear())["code"] == "device-revoked"
        assert await again.closed() == 4403
        await again.leave(4403)

    in_loop(scenario)


def test_a_reserved_device_finds_its_assignment_in_the_welcome_and_hears_the_next(machine: Machine) -> None:
    made = job(person("rosa", roles.RESEARCHER), "Night shift", "running")
    run = Run.objects.create(job=made, number=1, fence=1, partitions=2)
    Reservation.objects.create(run=run, device=machine.device, partition=1)

    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
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
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        await db(told_in_vain)()
        assert await socket.receive_nothing(0.3)
        await socket.leave()

    in_loop(scenario)


def test_a_newer_socket_takes_over_and_the_older_ones_end_does_not_put_the_device_offline(
    machine: Machine,
) -> None:
    async def scenario() -> None:
        old = machine.socket()
        await old.open()
        await old.hear()
        await old.say(HELLO)
        await presence_becomes("idle")
        new = machine.socket()
        await new.open()
        assert (await new.hear())["type"] == "welcome"
        assert await old.closed() == 4409
        await new.say(HELLO)
        await new.say(TELEMETRY)
        await asyncio.sleep(0.2)
        await old.leave(4409)
        assert await db(presence)() == "idle"
        await new.leave()
        await presence_becomes("offline")

    in_loop(scenario)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{no json", "malformed-message"),
        ("[1, 2]", "malformed-message"),
        ('{"type": "format-disk"}', "malformed-message"),
        (json.dumps(TELEMETRY | {"cpu": -1}), "malformed-message"),
        (json.dumps(TELEMETRY | {"cpu": float("nan")}), "malformed-message"),
        (json.dumps({"type": "progress", "run": 1, "round": 1, "phase": "mining"}), "malformed-message"),
        (json.dumps({"type": "failed", "run": 1, "code": "x", "message": "m" * 70_000}), "message-too-large"),
    ],
    ids=["json", "list", "type", "range", "nan", "phase", "size"],
)
def test_a_malformed_message_closes_that_socket_with_a_reason(
    machine: Machine, message: str, code: str
) -> None:
    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        await socket.say(HELLO)
        await socket.say(message)
        answer = await socket.hear()
        assert (answer["type"], answer["code"]) == ("error", code)
        assert await socket.closed() == 4400
        await socket.leave(4400)

    in_loop(scenario)
    assert Device.objects.get().status == Device.Status.APPROVED


def test_bytes_close_the_socket(machine: Machine) -> None:
    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        await socket.say_bytes(b"\x00")
        assert (await socket.hear())["code"] == "malformed-message"
        assert await socket.closed() == 4400
        await socket.leave(4400)

    in_loop(scenario)


def test_speaking_before_hello_closes_the_socket(machine: Machine) -> None:
    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        await socket.say(TELEMETRY)
        assert (await socket.hear())["code"] == "malformed-message"
        assert await socket.closed() == 4400
        await socket.leave(4400)

    in_loop(scenario)


def test_flooding_closes_the_socket_and_nothing_else(machine: Machine, monkeypatch) -> None:
    # A busy machine handles fewer messages a second than the real allowance gives back.
    monkeypatch.setattr(consumer, "Allowance", lambda: Allowance(rate=0.1, burst=20))

    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        await socket.say(HELLO)
        for _ in range(30):
            await socket.say({"type": "uploaded", "run": 1, "round": 1})
        assert (await socket.hear(20))["code"] == "too-many-messages"
        assert await socket.closed() == 4400
        await socket.leave(4400)
        again = machine.socket()
        await again.open()
        assert (await again.hear())["type"] == "welcome"
        await again.leave()

    in_loop(scenario)


def test_a_device_that_never_says_hello_is_closed(machine: Machine, monkeypatch) -> None:
    monkeypatch.setattr(consumer, "HELLO_SECONDS", 0.1)

    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        assert (await socket.hear())["code"] == "hello-missing"
        assert await socket.closed() == 4408
        await socket.leave(4408)

    in_loop(scenario)


def test_facts_about_a_run_that_is_not_its_own_change_nothing(machine: Machine) -> None:
    made = job(person("rosa", roles.RESEARCHER), "Night shift", "running")
    other = Machine(machine.identity_folder, "other")
    other.join(code_for(person("olga", roles.OWNER), person("alma", roles.ADMIN)))
    run = Run.objects.create(job=made, number=1, fence=1, partitions=1)
    Reservation.objects.create(run=run, device=other.device, partition=0)

    async def scenario() -> None:
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        await socket.say(HELLO)
        await socket.say({"type": "ready", "run": run.pk, "fence": 1})
        await socket.say({"type": "progress", "run": run.pk, "round": 1, "phase": "training"})
        await socket.say({"type": "renew"})
        assert (await socket.hear())["type"] == "certificate"
        await socket.leave()

    in_loop(scenario)
    assert Reservation.objects.get().ready_at is None


def test_a_certificate_is_renewed_over_the_socket(machine: Machine) -> None:
    async def scenario() -> str:
        socket = machine.socket()
        await socket.open()
        await socket.hear()
        await socket.say(HELLO)
        await socket.say({"type": "renew"})
        answer = await socket.hear()
        await socket.leave()
        return answer["certificate"]

    assert in_loop(scenario).startswith("-----BEGIN CERTIFICATE")


def test_the_allowance_refills_with_time() -> None:
    allowance = Allowance(rate=1000.0, burst=2.0)
    assert [allowance.take() for _ in range(3)][:2] == [True, True]
    allowance.at -= 1
    assert allowance.take()
