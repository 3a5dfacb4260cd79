"""A log is asked for by a person who may, sent by the device that was asked, and kept without secrets."""

import json
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.utils import timezone

from fl_server.exceptions import Conflict, NotAllowed, TooManyRequests
from fl_server.models import AuditEvent, ClientLog, Device
from fl_server.redaction import redacted
from fl_server.services import client_logs
from tests.server.cluster import heard
from tests.server.machines import Machine, in_loop, machine, presence_becomes
from tests.server.world import World, client

__all__ = ["machine"]
pytestmark = [pytest.mark.services, pytest.mark.django_db]
db = database_sync_to_async


def wait_a_while() -> None:
    ClientLog.objects.update(asked_at=timezone.now() - 2 * client_logs.PAUSE)


@pytest.mark.parametrize("who", ["admin", "owner"])
def test_admins_and_the_owner_ask_and_the_device_hears_it(world: World, who: str) -> None:
    with heard() as payloads:
        log = client_logs.ask(world.training, world.people[who])
    wanted = {"type": "logs", "request": log.pk, "lines": 200, "group": f"device-{world.training.pk}"}
    assert wanted in payloads
    assert AuditEvent.objects.get(action="device.log").actor == world.people[who]


@pytest.mark.parametrize("who", ["researcher", "viewer", "outsider"])
def test_others_neither_ask_nor_read(world: World, who: str) -> None:
    with pytest.raises(NotAllowed):
        client_logs.ask(world.training, world.people[who])
    with pytest.raises(NotAllowed):
        client_logs.check_may_read(world.training, world.people[who])


def test_an_owner_does_not_ask_for_the_log_of_somebody_elses_machine(world: World) -> None:
    with pytest.raises(NotAllowed):
        client_logs.ask(world.foreign_device, world.owner)


def test_only_a_connected_device_is_asked(world: World) -> None:
    with pytest.raises(Conflict) as refused:
        client_logs.ask(world.foreign_device, world.admin)
    assert refused.value.code == "device-offline"


def test_a_device_is_not_asked_twice_within_ten_seconds(world: World) -> None:
    client_logs.ask(world.training, world.admin)
    with pytest.raises(TooManyRequests):
        client_logs.ask(world.training, world.owner)
    wait_a_while()
    client_logs.ask(world.training, world.owner)


def test_an_answer_is_kept_once_and_only_from_the_device_that_was_asked(world: World) -> None:
    log = client_logs.ask(world.training, world.admin)
    assert client_logs.received(world.foreign_device, log.pk, ["forged"]) is False
    assert client_logs.received(world.training, log.pk + 1, ["not asked for"]) is False
    with heard() as payloads:
        assert client_logs.received(world.training, log.pk, ["one", "two\x00"]) is True
    assert [payload["group"] for payload in payloads] == ["devices", f"owner-{world.owner.pk}"]
    assert "one" not in json.dumps(payloads)
    assert client_logs.received(world.training, log.pk, ["again"]) is False
    log.refresh_from_db()
    assert log.text == "one\ntwo"


def test_the_last_ten_logs_of_a_device_are_kept(world: World) -> None:
    for _ in range(12):
        client_logs.ask(world.training, world.admin)
        wait_a_while()
    assert ClientLog.objects.count() == client_logs.KEPT


KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB\nabc\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"before\n{KEY}\nafter", "before\n[hidden]\nafter"),
        ("cut -----BEGIN PRIVATE KEY-----\nMHcCAQEE", "cut [hidden]"),
        ("joined with C1-eyJ1IjoiaHR0cCJ9 today", "joined with [hidden] today"),
        ("token eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl end", "token [hidden] end"),
        ("Authorization: Bearer abcdef123456", "Authorization: [hidden]"),
        ("round 3 of run 1: 600 rows in 2.1 s", "round 3 of run 1: 600 rows in 2.1 s"),
    ],
)
def test_what_looks_like_a_key_is_struck_out(text: str, left: str) -> None:
    assert redacted(text) == left


def test_the_api_shows_the_logs_to_those_who_may_read_them(world: World) -> None:
    address = f"/api/v1/devices/{world.training.pk}/logs"
    asked = client(world.owner).post(address)
    assert asked.status_code == 202
    client_logs.received(world.training, asked.json()["id"], ["hello"])
    [row] = client(world.admin).get(address).json()
    assert (row["asked_by"], row["text"]) == ("otto", "hello")
    assert client(world.admin).post(address).status_code == 429
    assert client(world.viewer).get(address).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_device_answers_over_its_socket(machine: Machine) -> None:
    def ask() -> int:
        device = Device.objects.get()
        return client_logs.ask(device, device.owner).pk

    async def scenario() -> None:
        socket = await machine.introduced()
        await presence_becomes("idle")
        request = await db(ask)()
        assert await socket.hear() == {"type": "logs", "request": request, "lines": 200}
        await socket.say({"type": "logs", "request": request, "lines": ["a line"]})
        await socket.leave()
        await presence_becomes("offline")

    in_loop(scenario)
    assert ClientLog.objects.get().text == "a line"


def test_a_request_that_was_never_answered_stays_open(world: World) -> None:
    log = client_logs.ask(world.training, world.admin)
    assert log.received_at is None
    assert timezone.now() - log.asked_at < timedelta(seconds=5)
    shown: dict[str, Any] = client(world.admin).get(f"/api/v1/devices/{world.training.pk}/logs").json()[0]
    assert shown["received_at"] is None
