"""Devices without a computer: real signed handshakes and real messages, many in one process."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.fleet_server import Machine

PATH = "/ws/device/"
PATIENCE = 30.0
RAM = 16 * 10**9
TELEMETRY_SECONDS = 5.0


class Device:
    """Says hello, a sample every five seconds, and now and then that its decision changed."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.device = machine.device
        self.lost = ""  # why the server hung up
        self._identity = machine.identity
        self._uri = f"ws://127.0.0.1:{port}{PATH}"
        self._allowed = True
        self._wanted = asyncio.Event()

    def turn(self) -> None:
        """The owner comes or goes; the change is said at once."""
        self._allowed = not self._allowed
        self._wanted.set()

    async def live(self, connected: asyncio.Semaphore, on_turn: Callable[[str, bool], None]) -> None:
        """Until cancelled. `on_turn` hears of each change just before it is sent."""
        async with connected:
            headers = self._identity.sign("GET", PATH)
            socket = await connect(
                self._uri, additional_headers=headers, compression=None, open_timeout=PATIENCE
            )
            await asyncio.wait_for(socket.recv(), PATIENCE)
            await socket.send(json.dumps(self._hello()))
        hearing = asyncio.create_task(self._hear(socket))
        try:
            await asyncio.sleep(random.uniform(0, TELEMETRY_SECONDS))
            while not self.lost:
                if self._wanted.is_set():
                    self._wanted.clear()
                    on_turn(self.device, self._allowed)
                await socket.send(json.dumps(self._sample()))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), TELEMETRY_SECONDS)
        except ConnectionClosed as exc:
            self.lost = str(exc)
        finally:
            hearing.cancel()
            await socket.close()

    async def _hear(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "error":
                self.lost = message["message"]

    def _decision(self) -> dict[str, Any]:
        if self._allowed:
            return {"allowed": True, "may_start": True, "reason": "", "codes": []}
        reason = "you are using this machine"
        return {"allowed": False, "may_start": False, "reason": reason, "codes": ["in-use"]}

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "version": "0.1.0",
            "platform": "Linux",
            "hardware": {"cores": 8, "ram_bytes": RAM, "gpus": []},
            "decision": self._decision(),
        }

    def _sample(self) -> dict[str, Any]:
        return {
            "type": "telemetry",
            "cpu": round(random.uniform(1, 40), 1),
            "cpu_by_others": round(random.uniform(1, 40), 1),
            "ram_free_bytes": int(random.uniform(0.2, 0.8) * RAM),
            "disk_free_bytes": 10**11,
            "disk_total_bytes": 10**12,
            "temperature": round(random.uniform(40, 70), 1),
            "gpus": [],
            "decision": self._decision(),
        }


class Watcher:
    """A browser's live socket: how long a change took from the device to the page."""

    def __init__(self, port: int, cookie: str) -> None:
        self.delays: list[float] = []
        self.frames = 0
        self._uri = f"ws://127.0.0.1:{port}/ws/live/devices/"
        self._headers = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"}
        self._said: dict[str, tuple[bool, float]] = {}

    @property
    def missing(self) -> int:
        return len(self._said)

    def expect(self, device: str, allowed: bool) -> None:
        self._said[device] = (allowed, time.perf_counter())

    async def watch(self) -> None:
        async with connect(self._uri, additional_headers=self._headers, compression=None) as socket:
            async for text in socket:
                self.frames += 1
                fact = json.loads(text)
                awaited = self._said.get(fact.get("device", ""))
                if awaited and (fact.get("presence") == "paused") is not awaited[0]:
                    self.delays.append(time.perf_counter() - awaited[1])
                    del self._said[fact["device"]]
