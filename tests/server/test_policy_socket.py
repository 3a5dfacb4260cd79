"""A device hears the rules above its owner's on connecting and when they change, and says its owner's."""

import pytest
from channels.db import database_sync_to_async

from fl_server import roles
from fl_server.models import Device
from fl_server.rules import COMPANY_DEFAULTS, stored
from fl_server.services import policies
from tests.server.machines import HELLO, Machine, in_loop, machine, presence_becomes
from tests.server.world import person

__all__ = ["machine"]
pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]
db = database_sync_to_async


def test_the_policy_is_in_the_welcome_and_a_change_follows_at_once(machine: Machine) -> None:
    admin = person("alma", roles.ADMIN)

    async def scenario() -> None:
        socket = await machine.opened()
        assert (await socket.hear())["policy"] == {"company": stored(COMPANY_DEFAULTS), "group": {}}
        await socket.say(HELLO)
        await presence_becomes("idle")
        await db(policies.set_company)(admin, {"gpu": "never"})
        assert await socket.hear() == {"type": "policy", "company": {"gpu": "never"}, "group": {}}
        await socket.leave()

    in_loop(scenario)


def test_what_changed_between_welcome_and_hello_is_said_after_the_hello(machine: Machine) -> None:
    admin = person("alma", roles.ADMIN)

    async def scenario() -> None:
        socket = await machine.welcomed()
        await db(policies.set_company)(admin, {"gpu": "never"})
        await socket.say(HELLO)
        assert await socket.hear() == {"type": "policy", "company": {"gpu": "never"}, "group": {}}
        await socket.leave()

    in_loop(scenario)


def test_the_owner_s_rules_come_with_the_hello_and_when_they_change(machine: Machine) -> None:
    async def scenario() -> None:
        socket = await machine.welcomed()
        await socket.say(HELLO | {"rules": {"idle_minutes": 60}})
        await presence_becomes("idle")
        await socket.say({"type": "rules", "rules": {"idle_minutes": 90}})
        await socket.say({"type": "renew"})
        assert (await socket.hear())["type"] == "certificate"
        await socket.leave()

    in_loop(scenario)
    assert Device.objects.get().owner_rules == {"idle_minutes": 90}


def test_nonsense_in_the_hello_is_answered_and_the_device_is_connected_all_the_same(machine: Machine) -> None:
    async def scenario() -> None:
        socket = await machine.welcomed()
        await socket.say(HELLO | {"rules": {"idle_minutes": "soon"}})
        answer = await socket.hear()
        assert (answer["type"], answer["code"]) == ("error", "invalid-input")
        assert answer["message"].startswith("idle_minutes: ")
        await presence_becomes("idle")
        await socket.leave()

    in_loop(scenario)
