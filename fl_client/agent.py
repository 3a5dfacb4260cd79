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

from fl_client import __version__, governor, hardware, identity, logs, private_data, telemetry
from fl_client.backoff import Backoff
from fl_client.governor import Governor
from fl_client.home import LEAVING, Home
from fl_client.identity import Identity
from fl_client.lending import Lent
from fl_client.link_errors import LinkError, Revoked, Untrusted
from fl_client.narrator import Narrator
from fl_client.page.server import Page
from fl_client.policy import words
from fl_client.policy.decide import Code, Decision
from fl_client.socket import TELEMETRY_SECONDS, DeviceSocket, Message
from fl_client.telemetry import Traffic

logger = logging.getLogger(__name__)

# A lost answer to a request for a new certificate is asked for again after this long.
RENEWAL_PATIENCE = 3600.0  # seconds
# An owner who comes back, or pauses the machine, has it back two seconds later; one of them is the worker's.
DECIDE_SECONDS = 0.5


class Work(Protocol):
    """What the agent needs of `fl_client.session.Session`; nothing of it blocks but `close`."""

    @property
    def is_lent(self) -> bool: ...
    def pids(self) -> list[int]: ...
    def start(self, assignment: dict[str, Any]) -> None: ...
    def wake(self, run: int, round: int) -> None: ...
    def abandon(self, run: int, round: int) -> None: ...
    def finish(self, run: int, round: int) -> None: ...
    def hold(self) -> None: ...
    def go_on(self) -> None: ...
    def lend(self, lent: Lent) -> None: ...
    def release(self, run: int | None = None) -> None: ...
    def close(self) -> None: ...


class Agent:
    def __init__(
        self,
        home: Home,
        *,
        make_session: "Callable[[Agent], Work] | None" = None,
        make_governor: Callable[[Home, Callable[[], list[int]]], Governor] = Governor,
        telemetry_seconds: float = TELEMETRY_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self.home = home
        self.state = home.enrolled()
        self.identity = Identity.load(home)
        self._authority = identity.authority(home)
        self._make_session = make_session or _session_on_the_fleet
        self._session: Work | None = None
        self._renewal_asked = -math.inf
        self.governor = make_governor(home, lambda: self._session.pids() if self._session else [])
        self._traffic = Traffic()
        self._told: tuple[Any, ...] = ()
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
            is_awaited=lambda: self._session is not None and self._session.is_lent,
        )
        self.narrator = Narrator(home, self.governor, lambda: self.socket.connected)
        self._page = Page(home, self.narrator.now)
        self._handlers: dict[str, Callable[[Message], Awaitable[None]]] = {
            "welcome": self._on_welcome,
            "reserve": self._on_reserve,
            "wake": self._on_wake,
            "abandon": self._on_abandon,
            "finish": self._on_finish,
            "policy": self._on_policy,
            "logs": self._on_logs,
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
        await asyncio.to_thread(self.governor.look)
        await self._page.start()
        deciding = asyncio.create_task(self._govern())
        try:
            await self.socket.run()
        except Revoked as exc:
            if self.state.status != "revoked":
                self._note_revoked(str(exc))
            raise Revoked(f"{self.state.name} was revoked: {self.state.reason}", exc.code) from exc
        finally:
            deciding.cancel()
            await self._page.close()
            await self._close_session()

    async def _govern(self) -> None:
        """Obey the rules at once, and tell a change of mind at once, not with the next sample."""
        said = self._said(self.governor.decision)
        while True:
            await asyncio.sleep(DECIDE_SECONDS)
            self.narrator.notice()
            try:
                decision = await asyncio.to_thread(self.governor.look)
            except Exception:
                # Whoever cannot tell what the owner does keeps off the machine.
                logger.exception("no decision could be made; nothing trains until one can")
                if self._session is not None:
                    self._session.hold()
                continue
            self._obey(decision)
            if (now := self._said(decision)) != said:
                logger.info("training is %s", governor.told(decision) or "allowed")
                said = now
                self.socket.send(self._telemetry())
            self._tell_what_the_owner_changed()

    def _obey(self, decision: Decision) -> None:
        if self._session is None:
            return
        self._session.lend(Lent.by(decision.resources))
        if decision.allowed:
            self._session.go_on()
        else:
            self._session.hold()

    @staticmethod
    def _said(decision: Decision) -> tuple[Any, ...]:
        """What is told of a decision, without the numbers in its sentences, which always move."""
        pause = [reason.sentence for reason in decision.reasons if reason.code is Code.PAUSED]
        return decision.allowed, decision.may_start, [reason.code for reason in decision.reasons], pause

    def _tell_what_the_owner_changed(self) -> None:
        rules, data = self._owner_rules(), self._private_data()
        if self._told and self._told != (rules, data):
            self.socket.send({"type": "rules", "rules": rules})
            self.socket.send({"type": "data", "data": data})
        self._told = rules, data

    def _owner_rules(self) -> dict[str, Any]:
        return self.governor.will.rules.model_dump(mode="json", exclude_none=True)

    def _private_data(self) -> list[dict[str, Any]]:
        try:
            return [each.as_message() for each in private_data.registered(self.home)]
        except LinkError as exc:
            logger.warning("private data is not offered: %s", exc)
            return []

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
        if "policy" in message:
            await self._on_policy(message["policy"])
        if message["reservation"] is not None:
            await self._start(message["reservation"])
        elif self._session is not None:
            # Released while the connection was down.
            self._session.release()
            self.narrator.released()

    async def _on_reserve(self, message: Message) -> None:
        await self._start(message["assignment"])

    async def _start(self, assignment: dict[str, Any]) -> None:
        if self._session is None:
            # Loads the engine's client library, which takes a second; the socket lives on meanwhile.
            self._session = await asyncio.to_thread(self._make_session, self)
            self._obey(self.governor.decision)
        logger.info("reserved for run %s of %r", assignment["run"], assignment.get("job_name"))
        self.narrator.reserved(assignment)
        self._session.start(assignment)

    async def _on_wake(self, message: Message) -> None:
        if self._session is not None:
            self._session.wake(int(message["run"]), int(message["round"]))

    async def _on_abandon(self, message: Message) -> None:
        if self._session is not None:
            self._session.abandon(int(message["run"]), int(message["round"]))

    async def _on_finish(self, message: Message) -> None:
        if self._session is not None:
            self._session.finish(int(message["run"]), int(message["round"]))

    async def _on_policy(self, message: Message) -> None:
        await asyncio.to_thread(self.governor.told, {name: message[name] for name in ("company", "group")})
        logger.info("the company's rules: %s", words.sentence(self.governor.above))

    async def _on_logs(self, message: Message) -> None:
        lines = await asyncio.to_thread(logs.tail, self.home, int(message["lines"]))
        self.socket.send({"type": "logs", "request": int(message["request"]), "lines": lines})

    async def _on_release(self, message: Message) -> None:
        logger.info("released from run %s", message["run"])
        self.narrator.released()
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
            "decision": governor.as_message(self.governor.decision),
            "rules": self._owner_rules(),
            "data": self._private_data(),
        }

    def _telemetry(self) -> Message:
        if self.identity.due_for_renewal() and time.monotonic() - self._renewal_asked > RENEWAL_PATIENCE:
            self._renewal_asked = time.monotonic()
            self.socket.send({"type": "renew"})
        now = self.governor
        sample = telemetry.sample(self.home, now.facts, now.gpus, self._traffic)
        return {"type": "telemetry", **sample, "decision": governor.as_message(now.decision)}

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


def _session_on_the_fleet(agent: Agent) -> Work:
    """Loaded at the first reservation, not before: it brings the engine's client library."""
    fleet_session: Any = importlib.import_module("fl_client.fleet_session")
    session: Work = fleet_session.open(agent)
    return session
