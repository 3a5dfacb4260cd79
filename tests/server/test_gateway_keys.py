"""Who gets past the gateway: approved devices that sign, and nobody else, at any price."""

import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from flwr.common import constant
from flwr.supercore import constant as headers

from constellation_web import node_auth
from constellation_web.node_auth import Places
from fl_server.models import Device
from fl_server.selectors import devices
from tests.server.gateway_world import DEADLINE, NODE, PULL, Node, served, wait_for, world
from tests.server.world import device, person

__all__ = ["served", "world"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys may be read again at once."""
    monkeypatch.setattr(node_auth, "ASK_EVERY", 0.05)


def test_headers_and_tolerances_are_those_of_the_engine():
    named = (
        headers.FLEET_HTTP_PUBLIC_KEY_HEADER,
        headers.FLEET_HTTP_SIGNATURE_HEADER,
        constant.TIMESTAMP_HEADER,
    )
    assert tuple(name.encode() for name in named) == (
        node_auth.KEY_HEADER,
        node_auth.SIGNATURE_HEADER,
        node_auth.TIME_HEADER,
    )
    assert node_auth.MOST_AHEAD == constant.SYSTEM_TIME_TOLERANCE
    assert node_auth.OLDEST == constant.TIMESTAMP_TOLERANCE + constant.SYSTEM_TIME_TOLERANCE


@pytest.mark.parametrize(
    "changes",
    [
        {"flwr-public-key": ""},
        {"flwr-public-key": "not base64"},
        {"flwr-public-key": "A" * 2000},
        {"flwr-public-key": b64encode(b"not a key").decode()},
        {"flwr-timestamp": ""},
        {"flwr-timestamp": "yesterday"},
        {"flwr-timestamp": "2026-01-01T00:00:00"},
        {"flwr-signature": ""},
        {"flwr-signature": b64encode(b"not a signature").decode()},
        Node().headers(),
        NODE.headers(seconds_ago=400),
        NODE.headers(seconds_ago=-3600),
        {"flwr-signature": NODE.headers(seconds_ago=1)["flwr-signature"]},
    ],
)
@pytest.mark.usefixtures("quick")
def test_what_no_approved_device_signed_reaches_no_engine(world, changes):
    assert world.post(**changes).status_code == 401
    assert world.engine.ports == []
    wait_for(world.is_quiet)


def test_a_request_without_a_signature_is_refused(world):
    assert world.http.post(PULL).status_code == 401


@pytest.mark.usefixtures("quick")
def test_a_device_that_was_just_approved_does_not_wait_for_the_next_reading(world):
    assert world.post().status_code == 200
    new = Node()
    world.registry.nodes.add(new.pem)
    assert world.http.post(PULL, headers=new.headers()).status_code == 200


@pytest.mark.usefixtures("quick")
def test_a_device_that_was_revoked_is_out_after_seconds(world, monkeypatch):
    assert world.post().status_code == 200
    monkeypatch.setattr(node_auth, "FRESH_SECONDS", 0.0)
    world.registry.nodes.clear()
    wait_for(lambda: world.post().status_code == 401)


def test_many_strangers_cost_the_database_little(world):
    def stranger(_: int) -> int:
        headers = Node().headers()
        return httpx.post(
            f"http://127.0.0.1:{world.front.port}{PULL}", headers=headers, timeout=DEADLINE
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(stranger, range(24))) == {401}
    assert world.registry.readings <= 8


def test_strangers_beyond_a_few_are_turned_away_and_devices_are_not(world, monkeypatch):
    monkeypatch.setattr(world.gateway, "_strangers", Places(1, 10))
    assert world.post().status_code == 200
    world.http.post(PULL, headers=Node().headers())  # has the keys read just now
    first = threading.Thread(target=world.raw_of, args=(Node(),))
    first.start()
    wait_for(lambda: world.gateway._strangers._taken)
    assert world.http.post(PULL, headers=Node().headers()).status_code == 429
    assert world.post().status_code == 200
    first.join(DEADLINE)


@pytest.mark.usefixtures("quick")
def test_known_devices_work_on_while_the_database_is_away(world, monkeypatch):
    assert world.post().status_code == 200
    monkeypatch.setattr(node_auth, "FRESH_SECONDS", 0.0)
    world.registry.is_down = True
    before = world.registry.readings
    assert world.post().status_code == 200
    wait_for(lambda: world.registry.readings > before)
    assert world.post().status_code == 200


@pytest.mark.usefixtures("quick")
def test_nobody_is_called_a_stranger_while_the_database_is_away(world):
    world.registry.is_down = True
    new = Node()
    answer = world.http.post(PULL, headers=new.headers())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    world.registry.is_down = False
    world.registry.nodes.add(new.pem)
    assert world.http.post(PULL, headers=new.headers()).status_code == 200


@pytest.mark.django_db
def test_the_keys_are_those_of_approved_devices_that_the_engine_knows():
    owner = person("otto")
    known = device(owner, "known", node_id="1")
    device(owner, "not yet registered")
    device(owner, "pending", Device.Status.PENDING)
    device(owner, "revoked", Device.Status.REVOKED, node_id="2")
    assert devices.node_keys() == {known.node_key.encode()}
