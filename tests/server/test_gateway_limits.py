"""Bodies that are too large or never end, devices that ask for too much or leave."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from constellation_web import gateway as gateways
from constellation_web.gateway import MAX_AT_ONCE, MAX_BODY
from constellation_web.node_auth import Places
from tests.server.gateway_world import DEADLINE, NODE, PULL, Node, served, wait_for, world

__all__ = ["served", "world"]


def test_a_body_that_says_that_it_is_too_large_is_refused_unread(world):
    assert world.raw(length=MAX_BODY + 1).startswith(b"HTTP/1.1 413")
    assert world.engine.paths == []


def test_a_body_that_turns_out_too_large_is_cut_off(world):
    def content() -> Iterator[bytes]:
        for _ in range(9):
            yield bytes(1_000_000)

    try:
        status = world.post(content=content()).status_code
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        status = 413  # the answer came while the body was still being written
    assert status == 413
    assert sum(map(len, world.engine.chunks)) <= MAX_BODY
    wait_for(world.is_quiet)


def test_the_largest_body_goes_through(world):
    assert len(world.post(content=bytes(MAX_BODY)).content) == MAX_BODY


def test_a_device_may_ask_for_a_few_things_at_once_and_no_more(world):
    world.engine.handler = world.engine.never
    clients = [httpx.Client(base_url=world.http.base_url, timeout=DEADLINE) for _ in range(MAX_AT_ONCE)]
    threads = [threading.Thread(target=_give_up, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(world.engine.paths) == MAX_AT_ONCE)
    refused = world.post()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    world.engine.handler = None
    another = Node()
    world.registry.nodes.add(another.pem)
    assert world.http.post(PULL, headers=another.headers()).status_code == 200
    for thread in threads:
        thread.join(DEADLINE)
    wait_for(world.is_quiet)
    assert world.post().status_code == 200


def _give_up(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(PULL, headers=NODE.headers(), timeout=1.0)
    client.close()


def test_a_device_that_leaves_takes_its_request_with_it(world):
    world.engine.handler = world.engine.never
    with pytest.raises(httpx.ReadTimeout):
        world.http.post(PULL, headers=NODE.headers(), timeout=0.3)
    assert world.engine.gone.wait(DEADLINE)
    wait_for(world.is_quiet)


def test_a_device_that_leaves_within_its_body_takes_its_request_with_it(world):
    with world.connect(length=10) as connection:
        connection.sendall(b"half")
        wait_for(lambda: world.engine.chunks)
    assert world.engine.gone.wait(DEADLINE)
    wait_for(world.is_quiet)


def test_a_body_that_stops_coming_is_not_waited_for_for_ever(world, monkeypatch):
    monkeypatch.setattr(gateways, "CLIENT_SECONDS", 0.2)
    assert world.raw(length=10, body=b"half").startswith(b"HTTP/1.1 408")
    wait_for(world.is_quiet)


def test_a_body_that_does_not_begin_reaches_no_engine(world, monkeypatch):
    monkeypatch.setattr(gateways, "CLIENT_SECONDS", 0.2)
    assert world.raw(length=10).startswith(b"HTTP/1.1 408")
    assert world.engine.paths == []
    assert world.engine.ports == []
    wait_for(world.is_quiet)


def test_only_so_many_bodies_of_an_address_may_be_waited_for(world, monkeypatch):
    monkeypatch.setattr(world.gateway, "_silent", Places(2, 10))
    waiting = [world.connect(length=10) for _ in range(2)]
    wait_for(lambda: world.gateway._running[NODE.pem] == 2)
    assert world.post().status_code == 429
    for connection in waiting:
        connection.close()
    wait_for(world.is_quiet)
    assert world.post().status_code == 200
