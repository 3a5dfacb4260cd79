"""The gateway behind a real uvicorn, in front of a real TLS server that plays the engine."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn

from constellation_web import gateway as gateways
from constellation_web.gateway import MAX_AT_ONCE, MAX_BODY, ROUTES, Gateway
from fl_server import pki
from fl_server.platform import ports

DEADLINE = 5.0  # seconds
PULL = "/v1/fleet/pull-messages"
KEY = {"flwr-public-key": "a2V5"}
Handler = Callable[[Any, Any, Any], Awaitable[None]]


class Served:
    """An ASGI application on a free port, in a thread of its own."""

    def __init__(self, app: Any, **options: Any) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1, **options)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        wait_for(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(DEADLINE)
        self._socket.close()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        pause.wait(0.01)


@dataclass
class Engine:
    """What arrived at the engine; a test may set how it answers."""

    handler: Handler | None = None
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await (self.handler or self.echo)(scope, receive, send)

    def forget(self) -> None:
        self.handler = None
        self.paths, self.headers, self.chunks, self.gone = [], [], [], threading.Event()

    async def body(self, receive: Any) -> bytes:
        whole, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.gone.set()
                return whole
            self.chunks.append(event.get("body", b""))
            whole += self.chunks[-1]
            more = event.get("more_body", False)
        return whole

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        whole = await self.body(receive)
        headers = [(b"content-type", b"application/protobuf"), (b"x-from", b"engine")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": whole})

    async def never(self, scope: Any, receive: Any, send: Any) -> None:
        """Take the request and answer nothing, until the other side leaves."""
        await self.body(receive)
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()


@dataclass
class World:
    engine: Engine
    gateway: Gateway
    front: Served
    http: httpx.Client

    def post(self, path: str = PULL, content: Any = b"", **headers: str) -> httpx.Response:
        return self.http.post(path, content=content, headers={**KEY, **headers})

    def raw(self, text: bytes) -> bytes:
        """The answer to a request exactly as it is written here."""
        with socket.create_connection(("127.0.0.1", self.front.port), timeout=DEADLINE) as connection:
            connection.sendall(text)
            return connection.recv(65536)

    def is_quiet(self) -> bool:
        """No request counts for any device."""
        return not self.gateway._running


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pki.ca_pem())


@contextmanager
def gateway_to(port: int, engine: Engine, verify: Callable[[], ssl.SSLContext] = trusting) -> Iterator[World]:
    gateway = Gateway(f"https://127.0.0.1:{port}", verify)
    front = Served(gateway)
    with httpx.Client(base_url=f"http://127.0.0.1:{front.port}", timeout=DEADLINE) as http:
        yield World(engine, gateway, front, http)
    front.stop()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Served, World]]:
    certificate, key = pki.server_certificate()
    engine = Engine()
    upstream = Served(engine, ssl_certfile=str(certificate), ssl_keyfile=str(key))
    with gateway_to(upstream.port, engine) as made:
        yield upstream, made
    upstream.stop()


@pytest.fixture
def world(served: tuple[Served, World]) -> World:
    _, made = served
    made.engine.forget()
    return made


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_a_listed_route_goes_through_with_its_body_and_headers(world, path):
    answer = world.post(
        path, b"\x00\xff body", **{"content-type": "application/protobuf", "flwr-signature": "s"}
    )
    assert (answer.status_code, answer.content) == (200, b"\x00\xff body")
    assert (answer.headers["content-type"], answer.headers["x-from"]) == ("application/protobuf", "engine")
    assert world.engine.paths == [path]
    [headers] = world.engine.headers
    assert headers["flwr-signature"] == "s"
    assert headers["flwr-public-key"] == "a2V5"


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
    request = f"POST {target} HTTP/1.1\r\nHost: x\r\nflwr-public-key: a2V5\r\nContent-Length: 0\r\n\r\n"
    assert world.raw(request.encode()).startswith(b"HTTP/1.1 404")
    assert world.engine.paths == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_but_post_is_there(world, method):
    assert world.http.request(method, PULL, headers=KEY).status_code == 404
    assert world.engine.paths == []


def test_a_request_without_a_nodes_key_is_refused_here(world):
    assert world.http.post(PULL).status_code == 401
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
    world.raw(
        b"POST %s HTTP/1.1\r\nHost: x\r\nflwr-public-key: a2V5\r\nContent-Length: 2\r\n\r\nhi" % PULL.encode()
    )
    assert set(world.engine.headers[0]) == {"host", "flwr-public-key", "content-length"}


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
    with world.http.stream("POST", PULL, headers=KEY) as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"first"
        seen.set()
        assert b"".join(chunks) == b"last"


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
    assert world.post().status_code == 200
    connections = world.gateway._client._transport._pool.connections
    before = set(map(id, connections))
    for _ in range(5):
        assert world.post().status_code == 200
    assert set(map(id, world.gateway._client._transport._pool.connections)) <= before
