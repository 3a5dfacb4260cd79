"""Clients that are too old are told so, with the cure."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from constellation_web import environment
from fl_server import client_version, roles
from fl_server.device_messages import Hardware
from fl_server.exceptions import Conflict
from fl_server.models import Device, EnrolmentCode
from fl_server.services import enrolment
from tests.server.machines import HARDWARE, HELLO, Machine, code_for, in_loop, machine, presence_becomes
from tests.server.world import person

__all__ = ["machine"]
pytestmark = pytest.mark.services


@pytest.mark.parametrize("version", ["0.2.0", "0.2.1", "0.10.0", "1.0.0rc1", "0.2.0.post1"])
def test_a_version_that_is_new_enough_passes(settings, version: str) -> None:
    settings.OLDEST_CLIENT = "0.2.0"
    client_version.check(version)


@pytest.mark.parametrize("version", ["0.1.9", "0.2.0rc1", "0.2.0.dev3", "", "unknown"])
def test_an_older_or_unreadable_version_is_refused_with_the_cure(settings, version: str) -> None:
    settings.OLDEST_CLIENT = "0.2.0"
    with pytest.raises(Conflict, match=r"needs 0\.2\.0 or newer\. Install it with: pip install") as refused:
        client_version.check(version)
    assert refused.value.code == "client-too-old"


def test_a_setting_that_is_no_version_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSTELLATION_OLDEST_CLIENT", "new")
    with pytest.raises(ImproperlyConfigured, match="must be a version"):
        environment.version("CONSTELLATION_OLDEST_CLIENT", "0.1.0")


@pytest.mark.django_db(transaction=True)
def test_a_hello_of_an_old_client_closes_the_socket_with_4426(machine: Machine) -> None:
    async def scenario() -> None:
        socket = await machine.welcomed()
        await socket.say(HELLO | {"version": "0.0.9"})
        answer = await socket.refused(4426)
        assert answer["code"] == "client-too-old"
        assert "This client is 0.0.9" in answer["message"]
        again = await machine.welcomed()
        await again.say(HELLO)
        await presence_becomes("idle")
        await again.leave()

    in_loop(scenario)


@pytest.mark.django_db
def test_an_old_client_does_not_join_and_the_code_is_not_used_up(tmp_path: Path) -> None:
    secret = code_for(person("otto", roles.OWNER), person("ada", roles.ADMIN))
    old = enrolment.Machine("desk", Hardware(**HARDWARE), "Linux", "0.0.9", "m-1")
    with pytest.raises(Conflict) as refused:
        enrolment.join(secret, **Machine(tmp_path).request(), machine=old)
    assert refused.value.code == "client-too-old"
    assert not Device.objects.exists()
    assert EnrolmentCode.objects.get().uses == 0
