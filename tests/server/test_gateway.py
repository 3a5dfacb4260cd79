"""What goes through the gateway, how, and what does not."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from constellation_web.gateway import ROUTES
from fl_server.platform import ports
from tests.server.gateway_world import DEADLINE, NODE, PULL, Engine, gateway_to, served, wait_for, world

__all__ = ["served", "world"]


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_a_listed_route_goes_through_with_its_body_and_headers(world, path):
    answer = world.post(
        path, b"\x00\xff body", **{"content-type": "application/protobuf", "x-of-a-proxy": "s"}
    )
    assert (answer.status_code, answer.content) == (200, b"\x00\xff body")
    assert (answer.headers["content-type"], answer.headers["x-from"]) == ("application/protobuf", "engine")
    assert world.engine.paths == [path]
    [headers] = world.engine.headers
    assert headers["x-of-a-proxy"] == "s"
    assert headers["flwr-public-key"] == NODE.headers()["flwr-public-key"]
    assert {"flwr-signature", "flwr-timestamp"} < set(headers)


@pytest.mark.parametrize(
    "target",
    [
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/control/start-run",
        "/v1/runtime/acquire-task",
        "/v1/fleet",
        "/v1/fleet/",
        "/",
        "/docs",
        f"{PULL}/",
        f"{PULL}?x=1",
        f"/{PULL}",
        "/v1//fleet/pull-messages",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/./pull-messages",
        "/v1/fleet/pull-messages/../pull-messages",
        "/v1/fleet%2Fpull-messages",
        "/v1/fleet/pull%2Dmessages",
        "/v1/fleet/%2e%2e/control/start-run",
        "/V1/FLEET/PULL-MESSAGES",
        "/v1/fleet/pull-messages%00",
        "/v1/fleet/pull-messages;x",
    ],
)
def test_everything_else_is_not_there(world, target):
    assert world.raw(f"POST {target}").startswith(b"HTTP/1.1 404")
    assert world.engine.paths == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_but_post_is_there(world, method):
    assert world.http.request(method, PULL, headers=NODE.headers()).status_code == 404
    assert world.engine.paths == []


def test_headers_of_the_connection_stay_on_it(world):
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await world.engine.body(receive)
        headers = [
            (b"connection", b"x-private"),
            (b"x-private", b"1"),
            (b"keep-alive", b"timeout=5"),
            (b"x-other", b"2"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"done"})

    world.engine.handler = answer
    secret = {
        "connection": "x-hop, keep-alive",
        "x-hop": "1",
        "te": "trailers",
        "upgrade": "h2c",
        "x-end": "3",
    }
    got = world.post(**secret)
    [sent] = world.engine.headers
    assert sent["x-end"] == "3"
    assert not {"x-hop", "te", "upgrade", "keep-alive"} & set(sent)
    assert sent["host"].startswith("127.0.0.1:")
    assert sent["host"] != f"127.0.0.1:{world.front.port}"
    assert got.headers["x-other"] == "2"
    assert "x-private" not in got.headers


def test_nothing_is_added_to_what_the_device_sent(world):
    world.raw(length=2, body=b"hi")
    assert set(world.engine.headers[0]) == {"host", "content-length", *NODE.headers()}


def test_the_engine_sees_the_first_chunk_before_the_device_sent_the_last(world):
    def content() -> Iterator[bytes]:
        yield b"first"
        wait_for(lambda: b"first" in b"".join(world.engine.chunks))
        yield b"last"

    assert world.post(content=content()).content == b"firstlast"


def test_the_device_sees_the_first_chunk_before_the_engine_sent_the_last(world):
    seen = threading.Event()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await world.engine.body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        assert await asyncio.to_thread(seen.wait, DEADLINE)
        await send({"type": "http.response.body", "body": b"last"})

    world.engine.handler = answer
    with world.http.stream("POST", PULL, headers=NODE.headers()) as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"first"
        seen.set()
        assert b"".join(chunks) == b"last"


def test_an_engine_that_is_down_is_said_to_be_back_soon():
    with gateway_to(ports.free(), Engine()) as world:
        answer = world.post()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        wait_for(world.is_quiet)


def test_an_engine_that_breaks_off_makes_no_complete_answer(world):
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await world.engine.body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    world.engine.handler = answer
    with pytest.raises(httpx.RemoteProtocolError):
        world.post()
    wait_for(world.is_quiet)


def test_a_server_that_the_platforms_authority_did_not_certify_is_not_spoken_to(served):
    upstream, made = served
    made.engine.paths.clear()
    with gateway_to(upstream.port, made.engine, ssl.create_default_context) as world:
        assert world.post().status_code == 503
    assert made.engine.paths == []


def test_answered_requests_leave_their_connection_for_the_next(world):
    for _ in range(6):
        assert world.post().status_code == 200
    assert len(set(world.engine.ports)) == 1
