"""Whom the device's socket turns away, and what ends it."""

import json
from typing import Any

import pytest
from channels.db import database_sync_to_async

from fl_server import roles
from fl_server.consumers import device as consumer
from fl_server.consumers.device import Allowance
from fl_server.models import Device
from fl_server.services import devices
from tests.server.machines import TELEMETRY, Machine, code_for, in_loop, machine, presence_becomes
from tests.server.world import person

__all__ = ["machine"]
pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]
db = database_sync_to_async


def test_a_stranger_hears_why_and_is_closed_with_4401(machine: Machine) -> None:
    async def scenario() -> None:
        for headers, code in (
            ({}, "signature-missing"),
            (machine.headers("GET", "/ws/other/"), "signature-bad"),
        ):
            socket = machine.socket(headers)
            await socket.open()
            assert (await socket.refused(4401))["code"] == code

    in_loop(scenario)
    assert Device.objects.get().last_seen is None


def test_a_clock_that_is_off_is_told_the_servers_time_on_the_socket(machine: Machine) -> None:
    async def scenario() -> None:
        machine.identity.clock.offset = 1000
        socket = await machine.opened()
        refused = await socket.refused(4401)
        assert refused["code"] == "clock-skew"
        machine.identity.clock.correct(refused["server_time"])
        again = await machine.welcomed()
        await again.leave()

    in_loop(scenario)


def test_revocation_reaches_an_open_socket_and_closes_it_with_4403_and_no_new_one_opens(
    machine: Machine,
) -> None:
    async def scenario() -> None:
        socket = await machine.introduced()
        await presence_becomes("idle")
        await db(devices.revoke)(machine.device, None, "stolen")
        assert await socket.refused(4403) == {"type": "revoked", "reason": "stolen"}
        again = await machine.opened()
        assert (await again.refused(4403))["code"] == "device-revoked"

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
        socket = await machine.introduced()
        await socket.say(message)
        answer = await socket.refused(4400)
        assert (answer["type"], answer["code"]) == ("error", code)

    in_loop(scenario)
    assert Device.objects.get().status == Device.Status.APPROVED


def test_bytes_close_the_socket(machine: Machine) -> None:
    async def scenario() -> None:
        socket = await machine.welcomed()
        await socket.say_bytes(b"\x00")
        assert (await socket.refused(4400))["code"] == "malformed-message"

    in_loop(scenario)


def test_speaking_before_hello_closes_the_socket(machine: Machine) -> None:
    async def scenario() -> None:
        socket = await machine.welcomed()
        await socket.say(TELEMETRY)
        assert (await socket.refused(4400))["code"] == "malformed-message"

    in_loop(scenario)


@pytest.mark.parametrize(
    ("message", "code"),
    [({"type": "uploaded", "run": 1, "round": 1}, "too-many-messages"), ("{no json", "malformed-message")],
    ids=["flood", "malformed"],
)
def test_misbehaving_closes_that_socket_and_nothing_else(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, message: Any, code: str
) -> None:
    # A busy machine handles fewer messages a second than the real allowance gives back.
    monkeypatch.setattr(consumer, "Allowance", lambda: Allowance(rate=0.1, burst=20))
    other = Machine(machine.identity_folder, "other")
    other.join(code_for(person("olga", roles.OWNER), person("alma", roles.ADMIN)))

    async def scenario() -> None:
        bystander = await other.introduced()
        socket = await machine.introduced()
        for _ in range(30):
            await socket.say(message)
        assert (await socket.refused(4400, 20))["code"] == code
        await bystander.say({"type": "renew"})
        assert (await bystander.hear())["type"] == "certificate"
        again = await machine.introduced()
        await again.say({"type": "renew"})
        assert (await again.hear())["type"] == "certificate"
        await again.leave()
        await bystander.leave()

    in_loop(scenario)


def test_a_device_that_never_says_hello_is_closed(machine: Machine, monkeypatch) -> None:
    monkeypatch.setattr(consumer, "HELLO_SECONDS", 0.1)

    async def scenario() -> None:
        socket = await machine.welcomed()
        assert (await socket.refused(4408))["code"] == "hello-missing"

    in_loop(scenario)


def test_the_allowance_refills_with_time() -> None:
    allowance = Allowance(rate=1000.0, burst=2.0)
    assert [allowance.take() for _ in range(3)][:2] == [True, True]
    allowance.at -= 1
    assert allowance.take()
