"""What runs on an employee's machine all day: one quiet socket, and a session while it is reserved."""

import asyncio
import importlib
import logging
import math
import platform
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from fl_client import __version__, hardware, identity, telemetry
from fl_client.backoff import Backoff
from fl_client.decision import decide
from fl_client.home import LEAVING, Home
from fl_client.identity import Identity
from fl_client.link_errors import Revoked, Untrusted
from fl_client.socket import TELEMETRY_SECONDS, DeviceSocket, Message

logger = logging.getLogger(__name__)

# A lost answer to a request for a new certificate is asked for again after this long.
RENEWAL_PATIENCE = 3600.0  # seconds
# An owner who pauses the machine sees it happen.
DECIDE_SECONDS = 1.0


class Work(Protocol):
    """What the agent needs of `fl_client.session.Session`; nothing of it blocks but `close`."""

    def start(self, assignment: dict[str, Any]) -> None: ...
    def wake(self, run: int, round: int) -> None: ...
    def abandon(self, run: int, round: int) -> None: ...
    def release(self, run: int | None = None) -> None: ...
    def close(self) -> None: ...


class Agent:
    def __init__(
        self,
        home: Home,
        *,
        make_session: "Callable[[Agent], Work] | None" = None,
        telemetry_seconds: float = TELEMETRY_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self.home = home
        self.state = home.enrolled()
        self.identity = Identity.load(home)
        self._authority = identity.authority(home)
        self._make_session = make_session or session_on_the_fleet
        self._session: Work | None = None
        self._renewal_asked = -math.inf
        trusted = identity.root_certificates(home, "platform").decode()
        self.socket = DeviceSocket(
            self.state.server,
            self.identity,
            identity.tls(self.state.trust, trusted),
            hello=self._hello,
            telemetry=self._telemetry,
            on_message=self.on_message,
            telemetry_seconds=telemetry_seconds,
            backoff=backoff,
        )
        self._handlers: dict[str, Callable[[Message], Awaitable[None]]] = {
            "welcome": self._on_welcome,
            "reserve": self._on_reserve,
            "wake": self._on_wake,
            "abandon": self._on_abandon,
            "release": self._on_release,
            "approved": self._on_approved,
            "revoked": self._on_revoked,
            "certificate": self._on_certificate,
            "error": self._on_error,
        }

    async def run(self) -> None:
        """Until told to stop. Raises Revoked when the platform shut this device out."""
        self._listen_to_signals()
        logger.info("agent %s of %s for %s", __version__, self.state.name, self.state.server)
        deciding = asyncio.create_task(self._report_decisions())
        try:
            await self.socket.run()
        except Revoked as exc:
            if self.state.status != "revoked":
                self._note_revoked(str(exc))
            raise Revoked(f"{self.state.name} was revoked: {self.state.reason}", exc.code) from exc
        finally:
            deciding.cancel()
            await self._close_session()

    async def _report_decisions(self) -> None:
        """Tell a change of mind at once, not with the next sample."""
        last = decide(self.home)
        while True:
            await asyncio.sleep(DECIDE_SECONDS)
            if (now := decide(self.home)) != last:
                last = now
                self.socket.send(self._telemetry())

    def stop(self) -> None:
        logger.info("stopping")
        self.socket.stop()

    async def on_message(self, message: Message) -> None:
        """A message that fails must not cost the connection: the next one may matter more."""
        handler = self._handlers.get(str(message.get("type")))
        if handler is None:
            logger.info("a message of type %r is from a newer server, ignored", message.get("type"))
            return
        try:
            await handler(message)
        except Exception:
            logger.exception("a message of type %r could not be handled", message["type"])

    async def _on_welcome(self, message: Message) -> None:
        self.state = self.home.update(
            status=str(message["status"]), name=str(message["name"]), node_id=str(message["node_id"])
        )
        logger.info("connected as %s (%s)", self.state.name, self.state.status)
        if message["reservation"] is not None:
            await self._start(message["reservation"])
        elif self._session is not None:
            # Released while the connection was down.
            self._session.release()

    async def _on_reserve(self, message: Message) -> None:
        await self._start(message["assignment"])

    async def _start(self, assignment: dict[str, Any]) -> None:
        if self._session is None:
            # Loads the engine's client library, which takes a second; the socket lives on meanwhile.
            self._session = await asyncio.to_thread(self._make_session, self)
        logger.info("reserved for run %s of %r", assignment["run"], assignment.get("job_name"))
        self._session.start(assignment)

    async def _on_wake(self, message: Message) -> None:
        if self._session is not None:
            self._session.wake(int(message["run"]), int(message["round"]))

    async def _on_abandon(self, message: Message) -> None:
        if self._session is not None:
            self._session.abandon(int(message["run"]), int(message["round"]))

    async def _on_release(self, message: Message) -> None:
        logger.info("released from run %s", message["run"])
        if self._session is not None:
            self._session.release(int(message["run"]))

    async def _on_approved(self, message: Message) -> None:
        self.state = self.home.update(status="approved", node_id=str(message["node_id"]))
        logger.info("approved")

    async def _on_revoked(self, message: Message) -> None:
        self._note_revoked(str(message.get("reason", "")))
        await self._close_session()

    async def _on_certificate(self, message: Message) -> None:
        try:
            self.identity.accept(self.home, str(message["certificate"]), self._authority)
        except Untrusted as exc:
            logger.error("the new certificate is not used: %s", exc)
        else:
            logger.info("the certificate was renewed")

    async def _on_error(self, message: Message) -> None:
        logger.warning("the server says (%s): %s", message.get("code"), message.get("message"))

    def _note_revoked(self, reason: str) -> None:
        self.state = replace(self.state, status="revoked", reason=reason or "no reason given")
        stored = self.home.state()
        # Somebody who leaves empties the folder, and it must stay empty.
        if stored is not None and stored.status != LEAVING:
            self.home.save(self.state)

    def _hello(self) -> Message:
        return {
            "type": "hello",
            "version": __version__,
            "platform": platform.platform(terse=True)[:120],
            "hardware": hardware.read(),
            "decision": decide(self.home).as_message(),
        }

    def _telemetry(self) -> Message:
        if self.identity.due_for_renewal() and time.monotonic() - self._renewal_asked > RENEWAL_PATIENCE:
            self._renewal_asked = time.monotonic()
            self.socket.send({"type": "renew"})
        return {"type": "telemetry", **telemetry.sample(), "decision": decide(self.home).as_message()}

    async def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await asyncio.to_thread(session.close)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self.stop)
            except (NotImplementedError, ValueError, RuntimeError):
                # Windows has none in the loop, threads have none at all; Ctrl-C still ends the process.
                logger.debug("no handler for signal %s here", number)


def session_on_the_fleet(agent: Agent) -> Work:
    """A session that reaches the engine through the platform. Loaded at the first reservation, not before."""
    fleet: Any = importlib.import_module("fl_client.fleet")
    sessions: Any = importlib.import_module("fl_client.session")
    parts = urlsplit(agent.state.server)
    secure = parts.scheme == "https"
    address = f"{parts.hostname}:{parts.port or (443 if secure else 80)}"
    roots = identity.root_certificates(agent.home, agent.state.trust) if secure else None

    def open_link() -> Any:
        return fleet.FleetLink(
            address,
            agent.identity.node_key,
            int(agent.state.node_id),
            ca=roots,
            clock_offset=lambda: agent.identity.clock.offset,
        )

    session: Work = sessions.Session(open_link, agent.socket.send)
    return session
