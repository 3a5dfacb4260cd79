"""The gateway behind a real uvicorn, in front of a real TLS server that plays the engine."""

import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import OperationalError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from constellation_web.gateway import Gateway
from fl_server import pki

DEADLINE = 5.0  # seconds
PULL = "/v1/fleet/pull-messages"
Handler = Callable[[Any, Any, Any], Awaitable[None]]


class Node:
    """A device's node key, and the headers with which Flower's client signs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.pem = public_key_to_bytes(self._key.public_key())

    def headers(self, seconds_ago: float = 0.0) -> dict[str, str]:
        at = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()
        signature = sign_message(self._key, at.encode())
        return {
            "flwr-public-key": b64encode(self.pem).decode(),
            "flwr-timestamp": at,
            "flwr-signature": b64encode(signature).decode(),
        }


NODE = Node()


class Registry:
    """The approved devices' keys as the database tells them; a test may let it fail."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.nodes = {NODE.pem}
        self.readings = 0
        self.is_down = False

    async def read(self) -> frozenset[bytes]:
        self.readings += 1
        if self.is_down:
            raise OperationalError("the database is away")
        return frozenset(self.nodes)


class Served:
    """An ASGI application on a free port, in a thread of its own."""

    def __init__(self, app: Any, **options: Any) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, **options)
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
    ports: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        self.ports.append(scope["client"][1])
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await (self.handler or self.echo)(scope, receive, send)

    def forget(self) -> None:
        self.handler = None
        self.paths, self.ports, self.headers, self.chunks = [], [], [], []
        self.gone = threading.Event()

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
    registry: Registry

    def post(self, path: str = PULL, content: Any = b"", **headers: str) -> httpx.Response:
        return self.http.post(path, content=content, headers={**NODE.headers(), **headers})

    def connect(self, head: str = f"POST {PULL}", length: int = 0, node: Node = NODE) -> socket.socket:
        """A connection on which a request's head was written, exactly so, and no body."""
        lines = [f"{head} HTTP/1.1", "Host: x", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in node.headers().items()]
        connection = socket.create_connection(("127.0.0.1", self.front.port), timeout=DEADLINE)
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection

    def raw(self, head: str = f"POST {PULL}", length: int = 0, body: bytes = b"") -> bytes:
        """The answer to a request exactly as it is written here."""
        with self.connect(head, length) as connection:
            connection.sendall(body)
            return connection.recv(65536)

    def raw_of(self, node: Node) -> bytes:
        with self.connect(node=node) as connection:
            return connection.recv(65536)

    def is_quiet(self) -> bool:
        """No request counts for any device."""
        return not self.gateway._running


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pki.ca_pem())


@contextmanager
def gateway_to(port: int, engine: Engine, verify: Callable[[], ssl.SSLContext] = trusting) -> Iterator[World]:
    registry = Registry()
    gateway = Gateway(f"https://127.0.0.1:{port}", verify, registry.read)
    front = Served(gateway, lifespan="on")
    with httpx.Client(base_url=f"http://127.0.0.1:{front.port}", timeout=DEADLINE) as http:
        yield World(engine, gateway, front, http, registry)
    front.stop()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Served, World]]:
    certificate, key = pki.server_certificate()
    engine = Engine()
    upstream = Served(engine, lifespan="off", ssl_certfile=str(certificate), ssl_keyfile=str(key))
    with gateway_to(upstream.port, engine) as made:
        yield upstream, made
    upstream.stop()


@pytest.fixture
def world(served: tuple[Served, World]) -> World:
    _, made = served
    made.engine.forget()
    made.registry.forget()
    return made
