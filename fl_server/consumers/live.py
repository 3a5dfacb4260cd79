"""The browser's socket: one topic, forwarded as it happens, no faster than a page can draw."""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings

from fl_server import events, roles
from fl_server.selectors import jobs, notifications

logger = logging.getLogger(__name__)

LOGGED_OUT, NOT_ALLOWED, NO_TOPIC, TOO_SLOW = 4401, 4403, 4404, 4408
RECHECK_SECONDS = 60.0
DRAW_SECONDS = 0.1
FRAMES_A_DRAW = 50
MOST_WAITING = 1000


class Outbox:
    """What a socket has yet to send. Of progress, only the newest per device; facts in order."""

    def __init__(self) -> None:
        self.facts: deque[dict[str, Any]] = deque()
        self.progress: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.facts) + len(self.progress)

    def put(self, payload: dict[str, Any]) -> None:
        if payload.get("event") not in ("participation", "device"):
            self.facts.append(payload)
            return
        key = (payload["event"], str(payload.get("device")))
        known = self.progress.get(key, {})
        if known.get("round") == payload.get("round"):
            payload = {**known, **payload}
        self.progress[key] = payload

    def take(self) -> list[dict[str, Any]]:
        """The next few payloads, facts first."""
        taken: list[dict[str, Any]] = []
        while self and len(taken) < FRAMES_A_DRAW:
            taken.append(self.facts.popleft() if self.facts else self.progress.popitem(last=False)[1])
        return taken


class LiveConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        self.group = ""
        self.tasks: list[asyncio.Task[None]] = []
        # A refused handshake reaches the page without a reason, so the reason follows the acceptance.
        await self.accept()
        code, group = await self.entitlement()
        if code:
            await self.close(code)
            return
        self.group, self.personal = group, events.user_group(self.scope["user"].pk)
        self.outbox, self.filled = Outbox(), asyncio.Event()
        await sync_to_async(events.listening)(self.group)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.channel_layer.group_add(self.personal, self.channel_name)
        unread = await database_sync_to_async(notifications.unread)(self.scope["user"])
        await self.send_json({"event": "hello", "server_time": time.time(), "unread": unread})
        self.tasks = [asyncio.create_task(self._pump()), asyncio.create_task(self._recheck_often())]

    async def disconnect(self, code: int) -> None:
        for task in self.tasks:
            task.cancel()
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)
            await self.channel_layer.group_discard(self.personal, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """A page only listens."""

    async def live_event(self, message: dict[str, Any]) -> None:
        await self._take([message["payload"]])

    async def live_events(self, message: dict[str, Any]) -> None:
        """Many of one kind in one message; see `events.devices_spoke`."""
        await self._take(message["payload"])

    async def _take(self, payloads: list[dict[str, Any]]) -> None:
        for payload in payloads:
            self.outbox.put(payload)
        self.filled.set()
        if len(self.outbox) > MOST_WAITING:
            # The page reconnects and reads what it missed.
            await self.close(TOO_SLOW)

    async def live_recheck(self, message: dict[str, Any]) -> None:
        code, group = await self.entitlement()
        if code or group != self.group:
            await self.close(code or NOT_ALLOWED)

    async def entitlement(self) -> tuple[int, str]:
        """A close code, or 0 and the group that this person may listen to. Read anew each time."""
        key = getattr(self.scope.get("session"), "session_key", None)
        session = import_module(settings.SESSION_ENGINE).SessionStore(key)
        user = await get_user({"session": session})
        if not user.is_authenticated:
            return LOGGED_OUT, ""
        return await database_sync_to_async(group_for)(user, self.scope["url_route"]["kwargs"]["topic"])

    async def _pump(self) -> None:
        with contextlib.suppress(RuntimeError, OSError):  # the browser went away while a frame was on its way
            while True:
                await self.filled.wait()
                self.filled.clear()
                while self.outbox:
                    for payload in self.outbox.take():
                        await self.send_json(payload)
                    await asyncio.sleep(DRAW_SECONDS)

    async def _recheck_often(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await sync_to_async(events.listening)(self.group)
                await self.live_recheck({})
            except Exception:
                logger.exception("could not check the rights of a live socket; closing it")
                await self.close(NOT_ALLOWED)


def group_for(user: Any, topic: str) -> tuple[int, str]:
    held = roles.of(user)
    observes = bool(held & roles.OBSERVERS)
    if topic == "me" and held:
        return 0, events.user_group(user.pk)
    if topic == "devices" and (observes or roles.OWNER in held):
        return 0, events.DEVICES if observes else events.owner_group(user.pk)
    if not observes:
        return NOT_ALLOWED, ""
    if topic == "jobs":
        return 0, events.JOBS
    number = topic.removeprefix("job-")
    if number.isdecimal() and len(number) < 19 and jobs.visible_to(user).filter(pk=int(number)).exists():
        return 0, events.job_group(int(number))
    return NO_TOPIC, ""
