"""Who may speak to the engine: approved devices, by the signature of their node key.

The engine checks the same again; here it is checked before a stranger costs anything behind the gateway.
"""

import asyncio
import logging
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

logger = logging.getLogger(__name__)

KEY_HEADER = b"flwr-public-key"
SIGNATURE_HEADER = b"flwr-signature"
TIME_HEADER = b"flwr-timestamp"
# What the engine allows: its tolerance and what clocks may differ.
OLDEST = 305.0  # seconds
MOST_AHEAD = 5.0
FRESH_SECONDS = 5.0  # that the set of keys is used before it is read again
ASK_EVERY = 1.0  # seconds between two readings, however many unknown keys come
LONGEST_HEADER = 1000  # bytes; a key on the largest curve takes 360

Read = Callable[[], Awaitable[frozenset[bytes]]]
ECDSA = ec.ECDSA(hashes.SHA256())


class NotSigned(Exception):
    """The request does not show that it comes from an approved device."""


class KeysUnknown(Exception):
    """The keys could not be read, so nobody can be told from a stranger yet."""


class TooMany(Exception):
    pass


class Places:
    """How many may wait for something at once: of one address, and of all."""

    def __init__(self, of_one: int, of_all: int) -> None:
        self._of_one, self._of_all = of_one, of_all
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        if self._taken[address] >= self._of_one or self._taken.total() >= self._of_all:
            raise TooMany
        self._taken[address] += 1
        try:
            yield
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]


class NodeKeys:
    """The node keys (PEM) of approved devices, kept for seconds; one that is not there is looked up."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._keys: frozenset[bytes] = frozenset()
        self._asked = -ASK_EVERY
        self._answered = False
        self._reading: asyncio.Task[None] | None = None

    def __contains__(self, key: bytes) -> bool:
        """Answers from what is there. An old set serves while a new one is read, also when that fails."""
        if self._keys and time.monotonic() - self._asked > FRESH_SECONDS:
            self._start()
        return key in self._keys

    async def look_up(self, key: bytes) -> bool:
        """Whether a key that was not there is there now. Many who ask at once share one reading."""
        came = time.monotonic()
        while self._asked < came and key not in self._keys:
            await asyncio.shield(self._start())
        if key not in self._keys and not self._answered:
            raise KeysUnknown
        return key in self._keys

    def _start(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._again())
        return self._reading

    async def _again(self) -> None:
        await asyncio.sleep(max(0.0, self._asked + ASK_EVERY - time.monotonic()))
        self._asked = time.monotonic()
        try:
            self._keys = await self._read()
            self._answered = True
        except Exception as exc:  # whatever the database's driver raises
            self._answered = False
            logger.warning("the devices' node keys could not be read: %s", exc)


def claimed_key(headers: Mapping[bytes, bytes]) -> bytes:
    """The node key (PEM) with which the request says that it was signed, within the last minutes."""
    try:
        encoded, at = headers[KEY_HEADER], headers[TIME_HEADER]
        age = (datetime.now(UTC) - datetime.fromisoformat(at.decode("ascii"))).total_seconds()
        if not -MOST_AHEAD < age < OLDEST or len(encoded) > LONGEST_HEADER:
            raise NotSigned
        return b64decode(encoded, validate=True)
    except (KeyError, ValueError, TypeError) as exc:
        raise NotSigned from exc


def check_signature(pem: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Costs a tenth of a millisecond, so only keys that are known come here."""
    try:
        signature = b64decode(headers[SIGNATURE_HEADER], validate=True)
        _loaded(pem).verify(signature, headers[TIME_HEADER], ECDSA)
    except (KeyError, ValueError, InvalidSignature) as exc:
        raise NotSigned from exc


@lru_cache(maxsize=4096)
def _loaded(pem: bytes) -> ec.EllipticCurvePublicKey:
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise NotSigned
    return key
