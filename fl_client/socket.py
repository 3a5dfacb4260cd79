"""The one connection that an idle device keeps: a WebSocket, opened again whenever it breaks."""

import asyncio
import json
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from fl_client.backoff import Backoff
from fl_client.identity import Identity
from fl_client.link_errors import Refused, Revoked, Unreachable, refusal

logger = logging.getLogger(__name__)

PATH = "/ws/device/"
OPEN_SECONDS = 15.0
WELCOME_SECONDS = 15.0
SEND_SECONDS = 15.0
PING_SECONDS = 15.0
STABLE_SECONDS = 10.0
CLOSE_SECONDS = 2.0
TELEMETRY_SECONDS = 5.0
# A refusal does not heal within seconds; an admin or a clock has to change something.
REFUSED_SECONDS = 60.0
AWAITED_SECONDS = 3.0  # between two attempts of a machine for which a round waits
SUPERSEDED, REVOKED, TOO_OLD = 4409, 4403, 4426
LARGEST_MESSAGE = 1_000_000  # bytes
MOST_WAITING = 256
MOMENTARY = frozenset({"progress", "telemetry"})

Message = dict[str, Any]


class DeviceSocket:
    """`hello` and `telemetry` give messages to send; `on_message` gets each that arrives, in order."""

    def __init__(
        self,
        server: str,
        identity: Identity,
        tls: ssl.SSLContext | None,
        *,
        hello: Callable[[], Message],
        telemetry: Callable[[], Message],
        on_message: Callable[[Message], Awaitable[None]],
        telemetry_seconds: float = TELEMETRY_SECONDS,
        backoff: Backoff | None = None,
        is_awaited: Callable[[], bool] = lambda: False,
        refused_seconds: float = REFUSED_SECONDS,
    ) -> None:
        self._uri = "ws" + server.removeprefix("http") + PATH
        self._identity = identity
        self._tls = tls if server.startswith("https://") else None
        self._hello, self._telemetry, self._on_message = hello, telemetry, on_message
        self._telemetry_seconds = telemetry_seconds
        self._backoff = backoff or Backoff()
        self._is_awaited = is_awaited
        self._refused_seconds = refused_seconds
        self._outbox: deque[Message] = deque(maxlen=MOST_WAITING)
        self._filled = asyncio.Event()
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.connected = False

    def send(self, message: Message) -> None:
        """From any thread. Facts wait for the next connection; what only describes the moment does not."""
        if self._loop is None or self._loop.is_closed():
            self._put(message)
        else:
            self._loop.call_soon_threadsafe(self._put, message)

    def _put(self, message: Message) -> None:
        if message.get("type") in MOMENTARY and not self.connected:
            return
        self._outbox.append(message)
        self._filled.set()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Keep a connection until told to stop. Raises Revoked when the platform shut the device out."""
        self._loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while not self._stop.is_set():
                living = asyncio.create_task(self._live())
                await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not living.done():
                    living.cancel()
                pause = self._pause_after(await asyncio.gather(living, return_exceptions=True))
                await asyncio.wait({stopping}, timeout=pause)
        finally:
            stopping.cancel()

    def _pause_after(self, outcome: Sequence[BaseException | None]) -> float:
        """Seconds until the next attempt, by what ended the last one."""
        error = outcome[0]
        if isinstance(error, Revoked):
            raise error
        if isinstance(error, asyncio.CancelledError):
            return 0.0
        if isinstance(error, Refused):
            if error.code == "clock-skew" and error.server_time is not None:
                self._identity.clock.correct(error.server_time)
                return self._backoff.next()
            logger.warning("the server refuses this device (%s): %s", error.code, error)
            return random.uniform(0.5, 1.0) * self._refused_seconds  # noqa: S311  spreads load, guards nothing
        if isinstance(error, Unreachable):
            pause = self._backoff.next(AWAITED_SECONDS if self._is_awaited() else None)
            logger.info("not connected: %s; next attempt in %.1f s", error, pause)
            return pause
        if isinstance(error, BaseException):
            logger.error("the connection failed unexpectedly", exc_info=error)
        return self._backoff.next()

    async def _live(self) -> None:
        """One connection from handshake to end."""
        connection = await self._open()
        try:
            welcome = await self._greet(connection)
            self.connected = True
            await self._converse(connection, welcome)
        except ConnectionClosed as exc:
            raise _closed(exc) from exc
        except (TimeoutError, OSError) as exc:
            raise Unreachable(f"the server fell silent ({type(exc).__name__})") from exc
        finally:
            self.connected = False
            await connection.close()

    async def _open(self) -> ClientConnection:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return await connect(
                    self._uri,
                    ssl=self._tls,
                    additional_headers=self._identity.sign("GET", PATH),
                    compression=None,
                    max_size=LARGEST_MESSAGE,
                    open_timeout=None,
                    ping_interval=PING_SECONDS,
                    ping_timeout=PING_SECONDS,
                    close_timeout=CLOSE_SECONDS,
                )
        except TimeoutError as exc:
            raise Unreachable(f"no answer within {OPEN_SECONDS:.0f} s") from exc
        except InvalidStatus as exc:
            raise Unreachable(f"the server answers {exc.response.status_code}") from exc
        except (OSError, WebSocketException, ImportError) as exc:
            raise Unreachable(str(exc) or type(exc).__name__) from exc

    async def _greet(self, connection: ClientConnection) -> Message:
        async with asyncio.timeout(WELCOME_SECONDS):
            welcome = _read(await connection.recv())
            if welcome.get("type") == "error":
                raise refusal(
                    str(welcome.get("code", "refused")),
                    str(welcome.get("message", "The server refuses this device.")),
                    welcome.get("server_time"),
                )
            if "server_time" in welcome:
                self._identity.clock.correct(float(welcome["server_time"]))
            await connection.send(json.dumps(self._hello()))
        return welcome

    async def _converse(self, connection: ClientConnection, welcome: Message) -> None:
        """Listen, send and report at once, until one of the three fails."""
        tasks = [
            asyncio.create_task(self._listen(connection, welcome)),
            asyncio.create_task(self._send_outbox(connection)),
            asyncio.create_task(self._send_telemetry(connection)),
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, connection: ClientConnection, welcome: Message) -> None:
        since = time.monotonic()
        try:
            await self._on_message(welcome)
            async for frame in connection:
                await self._on_message(_read(frame))
            raise Unreachable("the server closed the connection")
        finally:
            # A server that welcomes and hangs up at once is not reached faster by trying faster.
            if time.monotonic() - since > STABLE_SECONDS:
                self._backoff.reset()

    async def _send_outbox(self, connection: ClientConnection) -> None:
        while True:
            while self._outbox:
                message = self._outbox.popleft()
                try:
                    await _send(connection, message)
                except BaseException:
                    self._outbox.appendleft(message)
                    raise
            self._filled.clear()
            await self._filled.wait()

    async def _send_telemetry(self, connection: ClientConnection) -> None:
        """Spread a little, so that a fleet that started together does not report together."""
        while True:
            await asyncio.sleep(self._telemetry_seconds * random.uniform(0.9, 1.1))  # noqa: S311
            await _send(connection, self._telemetry())


async def _send(connection: ClientConnection, message: Message) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await connection.send(json.dumps(message))


def _read(frame: str | bytes) -> Message:
    try:
        message = json.loads(frame)
    except ValueError as exc:
        raise Unreachable("the server speaks something else than JSON") from exc
    if not isinstance(message, dict):
        raise Unreachable("the server sent something else than an object")
    return message


def _closed(closed: ConnectionClosed) -> Exception:
    code = closed.rcvd.code if closed.rcvd else 0
    reason = closed.rcvd.reason if closed.rcvd else "the connection broke"
    if code == REVOKED:
        return Revoked("The device was revoked.", "device-revoked")
    if code == SUPERSEDED:
        return Refused("Another agent speaks for this device.", "superseded")
    if code == TOO_OLD:
        return Refused("This client is too old for the platform, which said what it needs.", "client-too-old")
    return Unreachable(f"the server closed the connection: {reason or code}")
