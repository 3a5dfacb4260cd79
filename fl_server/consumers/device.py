"""A device's socket: it proves who it is, hears what to do and says how it goes."""

import asyncio
import contextlib
import logging
import time
from typing import Any

from asgiref.typing import WebSocketScope
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from fl_server import client_version, device_auth, device_messages, events
from fl_server import device_messages as said
from fl_server.exceptions import Conflict, ConstellationError, InvalidInput, NotAuthenticated
from fl_server.models import Device
from fl_server.selectors import policies as policy_selectors
from fl_server.selectors import runs
from fl_server.services import client_logs, devices, enrolment, participations, policies, private_data

logger = logging.getLogger(__name__)

UNAUTHENTICATED, REVOKED, SILENT, SUPERSEDED, MISBEHAVED = 4401, 4403, 4408, 4409, 4400
TOO_OLD = 4426
HELLO_SECONDS = 15.0
MAX_MESSAGE = 64 * 1024  # characters; every message of ours is ASCII
MESSAGES_A_SECOND = 50.0
BURST = 100.0


class Allowance:
    """A token bucket: so many messages a second on average, a burst now and then."""

    def __init__(self, rate: float = MESSAGES_A_SECOND, burst: float = BURST) -> None:
        self.rate, self.burst = rate, burst
        self.left, self.at = burst, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class DeviceConsumer(AsyncJsonWebsocketConsumer):
    scope: WebSocketScope

    async def connect(self) -> None:
        self.device: Device | None = None
        self.greeted = False
        self.allowance = Allowance()
        self.patience: asyncio.Task[None] | None = None
        # A refused handshake carries no reason, so the reason follows the acceptance.
        await self.accept()
        try:
            device = await database_sync_to_async(device_auth.verify_scope)(self.scope)
        except NotAuthenticated as exc:
            await self._refuse(exc, REVOKED if exc.code == "device-revoked" else UNAUTHENTICATED)
            return
        self.device, self.group = device, events.device_group(device.pk)
        self.socket = await database_sync_to_async(devices.opened)(device)
        # Listening starts before the reservation is read: better to hear of it twice than never.
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.channel_layer.group_send(self.group, {"type": "socket.opened", "socket": self.socket})
        greeting = await database_sync_to_async(welcome)(device)
        self.policy = greeting["policy"]
        await self.send_json(greeting)
        self.patience = asyncio.create_task(self._await_hello())

    async def disconnect(self, code: int) -> None:
        if self.patience:
            self.patience.cancel()
        if self.device is None:
            return
        await self.channel_layer.group_discard(self.group, self.channel_name)
        if self.greeted:
            await database_sync_to_async(devices.disconnected)(self.device, self.socket)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        if self.device is None:
            return
        try:
            message = self._read(text_data)
        except (InvalidInput, Conflict) as exc:
            logger.warning("closing the socket of %s: %s", self.device, exc.message)
            await self._refuse(exc, TOO_OLD if isinstance(exc, Conflict) else MISBEHAVED)
            return
        try:
            answer = await database_sync_to_async(self._act)(self.device, message)
        except ConstellationError as exc:
            answer = {"type": "error", "code": exc.code, "message": exc.message}
        self.greeted = self.greeted or isinstance(message, said.Hello)
        if answer:
            await self.send_json(answer)

    async def device_message(self, event: dict[str, Any]) -> None:
        """What the platform tells this device; see `events.tell_device`."""
        message = event["payload"]
        await self.send_json(message)
        if message["type"] == "revoked":
            await self.close(REVOKED, reason="revoked")

    async def socket_opened(self, event: dict[str, Any]) -> None:
        # What an older one said when it opened may arrive as late as this.
        if event["socket"] > self.socket:
            await self.close(SUPERSEDED, reason="another socket of this device was opened")

    def _read(self, text: str | None) -> said.Said:
        if not self.allowance.take():
            raise InvalidInput(
                f"More than {MESSAGES_A_SECOND:.0f} messages a second.", code="too-many-messages"
            )
        if text is None:
            raise InvalidInput("Messages are JSON text, not bytes.", code="malformed-message")
        if len(text) > MAX_MESSAGE:
            raise InvalidInput(
                f"A message of {len(text)} characters; at most {MAX_MESSAGE}.", code="message-too-large"
            )
        try:
            message = device_messages.parse(text)
        except InvalidInput as exc:
            raise InvalidInput(exc.message, code="malformed-message", field=exc.field) from exc
        if not (self.greeted or isinstance(message, said.Hello)):
            raise InvalidInput("The first message must be hello.", code="malformed-message")
        if isinstance(message, said.Hello):
            client_version.check(message.version)
        return message

    def _act(self, device: Device, message: said.Said) -> dict[str, Any] | None:
        match message:
            case said.Hello():
                devices.connected(device, message)
                policies.owner_changed(device, message.rules)
                private_data.changed(device, message.data)
                return self._changed_policy(device)
            case said.OwnerRules():
                policies.owner_changed(device, message.rules)
            case said.Data():
                private_data.changed(device, message.data)
            case said.Logs():
                client_logs.received(device, message.request, message.lines)
            case said.Telemetry():
                devices.sign_of_life(device, message)
            case said.Ready():
                participations.ready(device, message.run, message.fence, message.round, message.rows)
            case said.Progress():
                participations.progress(
                    device, message.run, message.round, message.phase, message.batch, message.batches
                )
            case said.Parked():
                participations.parked(device, message.run, message.round, message.examples)
            case said.Uploaded():
                participations.uploaded(
                    device,
                    message.run,
                    message.round,
                    partial=message.partial,
                    lost_seconds=message.lost_seconds,
                    energy_wh=message.energy_wh,
                    train_seconds=message.train_seconds,
                    transfer_seconds=message.transfer_seconds,
                )
            case said.Failed():
                participations.failed(device, message.run, message.round, message.code, message.message)
            case said.Renew():
                return {"type": "certificate", "certificate": enrolment.renew(device)}
        return None

    def _changed_policy(self, device: Device) -> dict[str, Any] | None:
        """Who changes the policy tells those who said hello; what changed since the welcome is said here."""
        policy = policy_selectors.told(device)
        return None if policy == self.policy else {"type": "policy", **policy}

    async def _refuse(self, exc: ConstellationError, code: int) -> None:
        answer = {"type": "error", "code": exc.code, "message": exc.message, "server_time": time.time()}
        with contextlib.suppress(RuntimeError, OSError):  # the device hung up first
            await self.send_json(answer)
            await self.close(code, reason=exc.code)

    async def _await_hello(self) -> None:
        await asyncio.sleep(HELLO_SECONDS)
        if not self.greeted:
            await self._refuse(InvalidInput("No hello arrived.", code="hello-missing"), SILENT)


def welcome(device: Device) -> dict[str, Any]:
    """The facts with which a device starts: its own, and what it is reserved for."""
    device.refresh_from_db()
    reservation = runs.active_reservation(device)
    return {
        "type": "welcome",
        "device": str(device.pk),
        "name": device.name,
        "status": device.status,
        "node_id": device.node_id,
        "reservation": runs.assignment(reservation) if reservation else None,
        "policy": policy_selectors.told(device),
        "server_time": time.time(),
    }
