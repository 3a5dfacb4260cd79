"""The door to the engine: forwards an explicit list of Fleet routes to the SuperLink and nothing else.

The SuperLink listens on the loopback address only, since whoever reaches its Control API may run code on every
device. Everything here streams both ways; no body is held in memory.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
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
# Headers that belong to one connection are not passed on (RFC 9110, section 7.6.1).
HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host")
)


class BodyTooLarge(Exception):
    pass


class ClientGone(Exception):
    pass


class Gateway:
    def __init__(self, engine_url: str, verify: Callable[[], ssl.SSLContext | bool]) -> None:
        self._url = engine_url
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
        if scope["path"] not in ROUTES or scope["method"] != "POST" or scope.get("query_string"):
            await answer(send, 404, b"not found")
            return
        headers = dict(scope["headers"])
        device = headers.get(PUBLIC_KEY_HEADER, b"")
        if not device:
            await answer(send, 401, b"the node's signature is missing")
            return
        if int(headers.get(b"content-length", b"0")) > MAX_BODY:
            await answer(send, 413, b"the body is larger than 8 MB")
            return
        if self._running[device] >= MAX_AT_ONCE:
            await answer(send, 429, b"too many requests at once", [(b"retry-after", b"1")])
            return
        self._running[device] += 1
        try:
            await self._forward(scope, receive, send)
        finally:
            self._running[device] -= 1
            if not self._running[device]:
                del self._running[device]

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        started = False
        try:
            request = self._http().build_request("POST", scope["path"], headers=headers, content=body(receive))
            response = await self._http().send(request, stream=True)
            try:
                kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in HOP_BY_HOP]
                await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
                started = True
                async for chunk in response.aiter_raw():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                await response.aclose()
        except BodyTooLarge:
            await answer(send, 413, b"the body is larger than 8 MB")
        except ClientGone:
            return
        except (httpx.HTTPError, ssl.SSLError, OSError) as exc:
            logger.warning("the engine did not answer %s: %s", scope["path"], exc or type(exc).__name__)
            if not started:
                await answer(send, 503, b"the engine does not answer", [(b"retry-after", b"2")])
        except asyncio.CancelledError:
            raise


async def body(receive: Receive) -> AsyncIterator[bytes]:
    size = 0
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        size += len(event.get("body", b""))
        if size > MAX_BODY:
            raise BodyTooLarge
        more = event.get("more_body", False)
        if event.get("body"):
            yield event["body"]


async def answer(send: Send, status: int, text: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": plain + (headers or [])})
    await send({"type": "http.response.body", "body": text})


def gateway_from_settings() -> Gateway:
    from django.conf import settings

    from fl_server import pki

    def verify() -> ssl.SSLContext:
        return ssl.create_default_context(cadata=pki.ca_pem())

    return Gateway(f"https://{settings.ENGINE_ADDRESS}", verify)
