"""The door to the engine: forwards an explicit list of Fleet routes to the SuperLink and nothing else.

The SuperLink listens on the loopback address only, since whoever reaches its Control API may run code on
every device. Everything here streams both ways; no body is held in memory.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import httpx

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
MAX_BODY = 8_000_000  # bytes; the engine cuts arrays in chunks of 5 MB
MAX_AT_ONCE = 4  # requests of one device
PUBLIC_KEY_HEADER = b"flwr-public-key"
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


class BodyTooLarge(Exception):
    pass


class ClientSilent(Exception):
    pass


class ClientGone(Exception):
    pass


class Gateway:
    def __init__(self, engine_url: str, verify: Callable[[], ssl.SSLContext | bool]) -> None:
        self._url = engine_url
        self._host = httpx.URL(engine_url).netloc
        self._verify = verify
        self._client: httpx.AsyncClient | None = None
        self._running: dict[bytes, int] = defaultdict(int)

    def _http(self) -> httpx.AsyncClient:
        """Made at the first request: the engine's certificate may be younger than this process."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self._url,
                verify=self._verify(),
                timeout=httpx.Timeout(ENGINE_SECONDS, connect=5.0),
                limits=httpx.Limits(max_connections=200, max_keepalive_connections=64),
            )
        return self._client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_forwarded(scope):
            await answer(send, 404, b"not found")
            return
        headers = dict(scope["headers"])
        device = headers.get(PUBLIC_KEY_HEADER, b"")
        if not device:
            await answer(send, 401, b"the node's signature is missing")
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            await answer(send, 413, b"the body is larger than 8 MB")
            return
        if self._running[device] >= MAX_AT_ONCE:
            await answer(send, 429, b"too many requests at once", [(b"retry-after", b"1")])
            return
        self._running[device] += 1
        try:
            await self._while_wanted(scope, Body(receive), send)
        finally:
            self._running[device] -= 1
            if not self._running[device]:
                del self._running[device]

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
            request = self._http().build_request("POST", scope["path"], content=body.chunks())
            headers = passed_on(scope["headers"])
            if not any(name == b"content-length" for name, _ in headers):
                headers.append((b"transfer-encoding", b"chunked"))
            request.headers = httpx.Headers([(b"host", self._host), *headers])
            response = await self._http().send(request, stream=True)
            try:
                kept = passed_on(response.headers.raw)
                await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
                started = True
                async for chunk in response.aiter_raw():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                await response.aclose()
            await send({"type": "http.response.body", "body": b""})
        except BodyTooLarge:
            await answer(send, 413, b"the body is larger than 8 MB")
        except ClientSilent:
            await answer(send, 408, b"the body did not arrive")
        except ClientGone:
            return
        except (httpx.HTTPError, ssl.SSLError, OSError) as exc:
            logger.warning("the engine did not answer %s: %s", scope["path"], exc or type(exc).__name__)
            if not started:
                await answer(send, 503, b"the engine does not answer", [(b"retry-after", b"2")])


class Body:
    """A request's body as it comes, and after it the news that the client has left."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._complete = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        size = 0
        more = True
        while more:
            try:
                event = await asyncio.wait_for(self._receive(), CLIENT_SECONDS)
            except TimeoutError as exc:
                raise ClientSilent from exc
            if event["type"] == "http.disconnect":
                raise ClientGone
            size += len(event.get("body", b""))
            if size > MAX_BODY:
                raise BodyTooLarge
            more = event.get("more_body", False)
            if event.get("body"):
                yield event["body"]
        self._complete.set()

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
    from django.conf import settings

    from fl_server import pki

    def verify() -> ssl.SSLContext:
        return ssl.create_default_context(cadata=pki.ca_pem())

    return Gateway(f"https://{settings.ENGINE_ADDRESS}", verify)
