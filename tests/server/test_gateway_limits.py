"""Bodies that are too large or never end, devices that ask for too much or leave."""

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from constellation_web import gateway as gateways
from constellation_web.gateway import MAX_AT_ONCE, MAX_BODY
from tests.server.gateway_world import DEADLINE, KEY, PULL, served, wait_for, world

__all__ = ["served", "world"]


def test_a_body_that_says_that_it_is_too_large_is_refused_unread(world):
    request = (
        f"POST {PULL} HTTP/1.1\r\nHost: x\r\nflwr-public-key: k\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n"
    )
    assert world.raw(request.encode()).startswith(b"HTTP/1.1 413")
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
    assert world.http.post(PULL, headers={"flwr-public-key": "another"}).status_code == 200
    for thread in threads:
        thread.join(DEADLINE)
    wait_for(world.is_quiet)
    assert world.post().status_code == 200


def _give_up(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(PULL, headers=KEY, timeout=1.0)
    client.close()


def test_a_device_that_leaves_takes_its_request_with_it(world):
    world.engine.handler = world.engine.never
    with pytest.raises(httpx.ReadTimeout):
        world.http.post(PULL, headers=KEY, timeout=0.3)
    assert world.engine.gone.wait(DEADLINE)
    wait_for(world.is_quiet)


def test_a_device_that_leaves_within_its_body_takes_its_request_with_it(world):
    with socket.create_connection(("127.0.0.1", world.front.port), timeout=DEADLINE) as connection:
        connection.sendall(
            b"POST %s HTTP/1.1\r\nHost: x\r\nflwr-public-key: k\r\nContent-Length: 10\r\n\r\nhalf"
            % PULL.encode()
        )
        wait_for(lambda: world.engine.chunks)
    assert world.engine.gone.wait(DEADLINE)
    wait_for(world.is_quiet)


def test_a_body_that_stops_coming_is_not_waited_for_for_ever(world, monkeypatch):
    monkeypatch.setattr(gateways, "CLIENT_SECONDS", 0.2)
    answer = world.raw(
        b"POST %s HTTP/1.1\r\nHost: x\r\nflwr-public-key: k\r\nContent-Length: 10\r\n\r\nhalf" % PULL.encode()
    )
    assert answer.startswith(b"HTTP/1.1 408")
    wait_for(world.is_quiet)
