"""A signed POST to an address that a person gave, which must never reach into the company's own network.

The name is resolved once, every address it has is checked, and the connection goes to a checked address: a
name that changes its mind between check and connection gains nothing. Redirects are not followed and the
answer's body is not read.
"""

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from fl_server.exceptions import InvalidInput

SECONDS = 10.0
LONGEST_URL = 500
# An IPv4 address in IPv6 clothes, which a gateway may lead back into the network.
EMBEDDING = tuple(
    ipaddress.ip_network(block) for block in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Undelivered(Exception):
    """Why it did not arrive, as a sentence without the address, which may hold a secret."""


def checked(url: str, listed: Collection[str]) -> URL:
    """The address, if it may be used; `listed` names the hosts that an admin trusts wherever they are."""
    try:
        parsed = URL(url)
        host = (parsed.raw_host or "").rstrip(".").lower()
    except ValueError as exc:
        raise InvalidInput("url: this is not an address of the web.", field="url") from exc
    if not host or len(url) > LONGEST_URL or any(ord(sign) <= 32 for sign in url):
        raise InvalidInput(
            f"url must be a full address of at most {LONGEST_URL} characters, such as https://host/path.",
            field="url",
        )
    if parsed.user is not None or parsed.password is not None:
        raise InvalidInput("url must not carry a user name or password.", field="url")
    if parsed.scheme != "https" and not (parsed.scheme == "http" and host in listed):
        raise InvalidInput(
            f"url begins with {parsed.scheme}:// and must begin with https://; http:// is for hosts that "
            "CONSTELLATION_WEBHOOK_HOSTS lists.",
            field="url",
        )
    if host not in listed and _is_address(host) and not is_public(host):
        raise InvalidInput(f"url leads to {host}, which is no public address.", field="url")
    return parsed


def is_public(address: str) -> bool:
    """Whether the address belongs to the internet and to one machine there."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        if ip.scope_id or ip.is_site_local or any(ip in block for block in EMBEDDING):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the receiver computes too, to see that the message is ours and of now."""
    message = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), message, sha256).hexdigest()


# Not the loop's own: slow name servers of some would hold up others, and the end of the loop.
_resolvers = ThreadPoolExecutor(32, thread_name_prefix="resolve")


async def system_resolve(host: str, port: int) -> list[str]:
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_resolvers, look_up)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedResolver(AbstractResolver):
    """Gives addresses that may be connected to, or none."""

    def __init__(self, resolve: Resolve, listed: Collection[str]) -> None:
        self._resolve, self._listed = resolve, listed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._resolve(host, port)
        if not addresses:
            raise Undelivered("The name of the host is not known.")
        free = host.rstrip(".").lower() in self._listed
        if not free and not all(map(is_public, addresses)):
            raise Undelivered("The host has an address that is not public.")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to release."""


async def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    listed: Collection[str],
    resolve: Resolve = system_resolve,
    seconds: float = SECONDS,
) -> None:
    """Deliver it within so many seconds, or raise Undelivered."""
    try:
        target = checked(url, listed)
    except InvalidInput as exc:
        raise Undelivered(exc.message) from exc
    options: dict[str, Any] = {
        # One connection for one message: nothing of it is kept for another.
        "connector": aiohttp.TCPConnector(
            resolver=CheckedResolver(resolve, listed), use_dns_cache=False, force_close=True
        ),
        "timeout": aiohttp.ClientTimeout(total=seconds),
        "cookie_jar": aiohttp.DummyCookieJar(),
        "trust_env": False,
    }
    try:
        async with (
            aiohttp.ClientSession(**options) as session,
            session.post(target, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            status = answer.status
            answer.close()
    except TimeoutError as exc:
        raise Undelivered(f"No answer within {seconds:g} seconds.") from exc
    except (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch) as exc:
        raise Undelivered("Its certificate does not hold.") from exc
    except (aiohttp.ClientConnectorDNSError, socket.gaierror, UnicodeError) as exc:
        raise Undelivered("The name of the host is not known.") from exc
    except (aiohttp.ClientConnectionError, OSError) as exc:
        raise Undelivered("The connection failed.") from exc
    except (aiohttp.ClientError, ValueError) as exc:
        raise Undelivered("It does not answer as a web server does.") from exc
    if 300 <= status < 400:
        raise Undelivered(f"It answers with a redirect ({status}), which is not followed.")
    if not 200 <= status < 300:
        raise Undelivered(f"It answers with status {status}.")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
