"""The door to the engine: forwards an explicit list of Fleet routes to the SuperLink and nothing else.

The SuperLink listens on the loopback address only, since whoever reaches its Control API may run code on
every device. Everything here streams both ways; no body is held in memory.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import aiohttp

from constellation_web import node_auth

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FLEET_PREFIX = "/v1/"
ROUTES = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "pull-object",
        "push-object",
        "confirm-message-received",
    )
)
MAX_BODY = 8_000_000  # bytes; weights travel in chunks of 7.5 MB
READ_BYTES = 1 << 18  # that an answer may be ahead of the device
MAX_AT_ONCE = 4  # requests of one device
MOST_CONNECTIONS = 200
# Of one address and of all: unknown keys that are looked up, and approved devices that have not begun to
# send their body. A company's devices may share one address.
STRANGERS = (20, 200)
SILENT = (200, 1000)
ENGINE_SECONDS = 60.0
CLIENT_SECONDS = 30.0  # without a byte of the body
# Headers that belong to one connection are not passed on (RFC 9110, section 7.6.1).
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


CLOSE = [(b"connection", b"close")]


class BodyTooLarge(Exception):
    pass


class ClientSilent(Exception):
    pass


class ClientGone(Exception):
    pass


class Gateway:
    def __init__(
        self, engine_url: str, verify: Callable[[], ssl.SSLContext | bool], read_keys: node_auth.Read
    ) -> None:
        self._url = engine_url
        self._verify = verify
        self._keys = node_auth.NodeKeys(read_keys)
        self._strangers = node_auth.Places(*STRANGERS)
        self._silent = node_auth.Places(*SILENT)
        self._client: aiohttp.ClientSession | None = None
        self._running: dict[bytes, int] = defaultdict(int)

    def _http(self) -> aiohttp.ClientSession:
        """Made at the first request: the engine's certificate may be younger than this process."""
        if self._client is None:
            self._client = aiohttp.ClientSession(
                self._url,
                connector=aiohttp.TCPConnector(ssl=self._verify(), limit=MOST_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=ENGINE_SECONDS, sock_connect=5.0, sock_read=ENGINE_SECONDS
                ),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                auto_decompress=False,
                read_bufsize=READ_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if not is_forwarded(scope):
            await answer(send, 404, b"not found")
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            await answer(send, 413, b"the body is larger than 8 MB")
            return
        address = (scope.get("client") or ("",))[0]
        try:
            device = await self._device(headers, address)
            with self._slot(device):
                body = Body(receive)
                with self._silent.one(address):
                    await body.begin()
                await self._while_wanted(scope, body, send)
        except node_auth.NotSigned:
            await answer(send, 401, b"no approved device has signed this", CLOSE)
        except node_auth.KeysUnknown:
            await answer(send, 503, b"the database does not answer", [(b"retry-after", b"2")])
        except node_auth.TooMany:
            await answer(send, 429, b"too many requests at once", [(b"retry-after", b"1")])
        except ClientSilent:
            await answer(send, 408, b"the body did not arrive", CLOSE)
        except ClientGone:
            return

    async def _device(self, headers: dict[bytes, bytes], address: str) -> bytes:
        """The node key of the approved device that signed the request."""
        key = node_auth.claimed_key(headers)
        if key not in self._keys:
            with self._strangers.one(address):
                if not await self._keys.look_up(key):
                    raise node_auth.NotSigned
        node_auth.check_signature(key, headers)
        return key

    @contextmanager
    def _slot(self, device: bytes) -> Iterator[None]:
        if self._running[device] >= MAX_AT_ONCE:
            raise node_auth.TooMany
        self._running[device] += 1
        try:
            yield
        finally:
            self._running[device] -= 1
            if not self._running[device]:
                del self._running[device]

    async def _live(self, receive: Receive, send: Send) -> None:
        """Connections to the engine end with the server."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._client is not None:
            await self._client.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _while_wanted(self, scope: Scope, body: "Body", send: Send) -> None:
        """Forward the request until it is answered or nobody waits for the answer any more."""
        forwarding = asyncio.create_task(self._forward(scope, body, send))
        leaving = asyncio.create_task(body.client_left())
        try:
            await asyncio.wait({forwarding, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if forwarding.done():
                forwarding.result()
        finally:
            for task in (forwarding, leaving):
                task.cancel()
            await asyncio.gather(forwarding, leaving, return_exceptions=True)

    async def _forward(self, scope: Scope, body: "Body", send: Send) -> None:
        started = False
        try:
            headers = [
                (name.decode(), value.decode("latin-1")) for name, value in passed_on(scope["headers"])
            ]
            async with self._http().post(
                scope["path"], data=body.chunks(), headers=headers, allow_redirects=False
            ) as response:
                kept = passed_on(response.raw_headers)
                await send({"type": "http.response.start", "status": response.status, "headers": kept})
                started = True
                async for chunk in response.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            if not started:
                await self._excuse(scope["path"], body, exc, send)

    async def _excuse(self, path: str, body: "Body", error: Exception, send: Send) -> None:
        """Say why there is no answer. What is wrong with the body arrives as an error of the connection."""
        if isinstance(body.fault, BodyTooLarge):
            await answer(send, 413, b"the body is larger than 8 MB")
        elif isinstance(body.fault, ClientSilent):
            await answer(send, 408, b"the body did not arrive")
        elif body.fault is None:
            logger.warning("the engine did not answer %s: %s", path, error or type(error).__name__)
            await answer(send, 503, b"the engine does not answer", [(b"retry-after", b"2")])


class Body:
    """A request's body as it comes, and after it the news that the client has left."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._first: MutableMapping[str, Any] | None = None
        self._complete = asyncio.Event()
        self.fault: Exception | None = None

    async def begin(self) -> None:
        """Wait for the first bytes, or for the end of a body that has none."""
        self._first = await self._next()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._bounded():
                yield chunk
        except (BodyTooLarge, ClientSilent, ClientGone) as exc:
            self.fault = exc
            raise

    async def _bounded(self) -> AsyncIterator[bytes]:
        size = 0
        more = True
        while more:
            event, self._first = self._first or await self._next(), None
            size += len(event.get("body", b""))
            if size > MAX_BODY:
                raise BodyTooLarge
            more = event.get("more_body", False)
            if event.get("body"):
                yield event["body"]
        self._complete.set()

    async def _next(self) -> MutableMapping[str, Any]:
        try:
            event = await asyncio.wait_for(self._receive(), CLIENT_SECONDS)
        except TimeoutError as exc:
            raise ClientSilent from exc
        if event["type"] == "http.disconnect":
            raise ClientGone
        return event

    async def client_left(self) -> None:
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def is_forwarded(scope: Scope) -> bool:
    """Only the route as it is written: no query, no escapes, no other method."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return (
        scope["path"] in ROUTES
        and raw == scope["path"].encode()
        and scope["method"] == "POST"
        and not scope.get("query_string")
    )


def passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without those of the connection, and those that the connection header itself names."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = [value for name, value in lowered if name == b"connection"]
    own = {part.strip().lower() for part in b",".join(named).split(b",")}
    return [(name, value) for name, value in lowered if name not in HOP_BY_HOP and name not in own]


async def answer(
    send: Send, status: int, text: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": plain + (headers or [])})
    await send({"type": "http.response.body", "body": text})


def gateway_from_settings() -> Gateway:
    from channels.db import database_sync_to_async
    from django.conf import settings

    from fl_server import pki
    from fl_server.selectors import devices

    def verify() -> ssl.SSLContext:
        return ssl.create_default_context(cadata=pki.ca_pem())

    return Gateway(
        f"https://{settings.ENGINE_ADDRESS}",
        verify,
        database_sync_to_async(devices.node_keys, thread_sensitive=False),
    )
