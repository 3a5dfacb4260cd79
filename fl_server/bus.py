"""Publishing to and listening on channel groups from synchronous code.

One event loop in a daemon thread per process keeps one connection to Redis open, so that an event needs no
new one. Consumers, which have a loop of their own, use the layer directly.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

SEND_DEADLINE = 2.0  # seconds


class Bus:
    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="bus", daemon=True).start()

    @property
    def usable(self) -> bool:
        """A forked child inherits the object but not the thread."""
        return self._pid == os.getpid()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def send(self, group: str, message: dict[str, Any]) -> None:
        """Publish without waiting. A bus that is down costs the event, never the caller's work."""
        asyncio.run_coroutine_threadsafe(self._send(group, message), self._loop)

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        try:
            await asyncio.wait_for(get_channel_layer().group_send(group, message), SEND_DEADLINE)
        except Exception as exc:
            logger.warning("event for %s not delivered: %s", group, exc)

    def subscribe(self, group: str, deliver: Callable[[dict[str, Any]], None]) -> None:
        """Call `deliver` with each message to `group` until the process ends. Be quick: the loop waits."""
        ready = threading.Event()
        asyncio.run_coroutine_threadsafe(self._receive(group, deliver, ready), self._loop)
        ready.wait(SEND_DEADLINE)

    async def _receive(
        self, group: str, deliver: Callable[[dict[str, Any]], None], ready: threading.Event
    ) -> None:
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(group, channel)
                ready.set()
                while True:
                    _hand_over(await layer.receive(channel), group, deliver)
            except Exception as exc:
                logger.warning("listening to %s interrupted, trying again: %s", group, exc)
                await asyncio.sleep(1.0)


def _hand_over(message: dict[str, Any], group: str, deliver: Callable[[dict[str, Any]], None]) -> None:
    """A listener's own fault costs it this message and none of those behind it."""
    try:
        deliver(message)
    except Exception:
        logger.exception("a listener to %s failed", group)


_bus: Bus | None = None
_lock = threading.Lock()


def close() -> None:
    """Stop listening and sending in this process; whoever asks for the bus again gets a new one."""
    global _bus
    with _lock:
        if _bus is not None and _bus.usable:
            _bus.stop()
        _bus = None


def get() -> Bus:
    global _bus
    with _lock:
        if _bus is None or not _bus.usable:
            _bus = Bus()
        return _bus
