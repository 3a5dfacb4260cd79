import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from fl_client.backoff import Backoff
from fl_client.identity import Clock
from fl_client.link_errors import Revoked
from fl_client.socket import DeviceSocket
from tests.client.platform import free_port

WELCOME = {"type": "welcome", "reservation": None, "server_time": 0}
Script = Callable[[ServerConnection], Awaitable[None]]


class NotedClock(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.offsets: list[float] = []

    def correct(self, server_time: float) -> None:
        super().correct(server_time)
        self.offsets.append(self.offset)


class Signer:
    """Stands for an identity: the handshake needs headers and a clock."""

    def __init__(self) -> None:
        self.clock = NotedClock()
        self.signed = 0

    def sign(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        self.signed += 1
        return {"x-constellation-nonce": str(self.signed)}


class Device:
    """A socket under test and everything that it heard."""

    def __init__(self, port: int, **options: Any) -> None:
        self.heard: list[dict[str, Any]] = []
        self.identity = Signer()
        self.socket = DeviceSocket(
            f"http://127.0.0.1:{port}",
            self.identity,  # type: ignore[arg-type]
            None,
            hello=lambda: {"type": "hello"},
            telemetry=lambda: {"type": "telemetry"},
            on_message=self.hear,
            **({"backoff": Backoff(0.01, 0.05), "refused_seconds": 0.05} | options),
        )

    async def hear(self, message: dict[str, Any]) -> None:
        self.heard.append(message)


async def until(fact: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.005)


async def greet(connection: ServerConnection) -> None:
    await connection.send(json.dumps(WELCOME | {"server_time": time.time()}))
    assert json.loads(await connection.recv())["type"] == "hello"


def run(script: Script, scenario: Callable[[Device], Awaitable[None]], **options: Any) -> Device:
    """A local server that plays `script` on each connection, and a device that `scenario` drives."""

    async def both() -> Device:
        port = free_port()
        async with serve(script, "127.0.0.1", port):
            device = Device(port, **options)
            running = asyncio.create_task(device.socket.run())
            try:
                await scenario(device)
                device.socket.stop()
                await asyncio.wait_for(running, 5)
            finally:
                running.cancel()
        return device

    return asyncio.run(both())


def test_it_says_hello_hears_in_order_and_reports_at_its_pace() -> None:
    said: list[str] = []

    async def server(connection: ServerConnection) -> None:
        await greet(connection)
        for number in range(20):
            await connection.send(json.dumps({"type": "wake", "round": number}))
        async for text in connection:
            said.append(json.loads(text)["type"])

    async def scenario(device: Device) -> None:
        await until(lambda: len(device.heard) == 21 and len(said) >= 3)

    device = run(server, scenario, telemetry_seconds=0.02)
    assert [message["round"] for message in device.heard[1:]] == list(range(20))
    assert set(said) == {"telemetry"}


def test_it_comes_back_with_a_fresh_signature_each_time_the_server_hangs_up() -> None:
    nonces: list[str] = []

    async def server(connection: ServerConnection) -> None:
        nonces.append(connection.request.headers["x-constellation-nonce"])
        await greet(connection)
        await connection.close(1012)

    async def scenario(device: Device) -> None:
        await until(lambda: len(nonces) >= 4)

    run(server, scenario)
    assert len(set(nonces)) == len(nonces)


def test_it_finds_a_server_that_starts_late() -> None:
    async def scenario() -> None:
        port = free_port()
        device = Device(port)
        running = asyncio.create_task(device.socket.run())
        await asyncio.sleep(0.2)
        async with serve(greet_and_stay, "127.0.0.1", port):
            await until(lambda: device.heard)
            device.socket.stop()
            await asyncio.wait_for(running, 5)

    asyncio.run(scenario())


async def greet_and_stay(connection: ServerConnection) -> None:
    await greet(connection)
    await connection.wait_closed()


def test_facts_said_while_offline_arrive_once_connected_and_progress_is_dropped() -> None:
    said: list[dict[str, Any]] = []

    async def server(connection: ServerConnection) -> None:
        await greet(connection)
        async for text in connection:
            said.append(json.loads(text))

    async def scenario() -> None:
        port = free_port()
        device = Device(port)
        device.socket.send({"type": "uploaded", "round": 1})
        device.socket.send({"type": "progress", "round": 2})
        running = asyncio.create_task(device.socket.run())
        async with serve(server, "127.0.0.1", port):
            await until(lambda: said)
            await asyncio.to_thread(device.socket.send, {"type": "progress", "round": 3})
            await until(lambda: len(said) == 2)
            device.socket.stop()
            await asyncio.wait_for(running, 5)

    asyncio.run(scenario())
    assert said == [{"type": "uploaded", "round": 1}, {"type": "progress", "round": 3}]


def test_the_clock_is_taken_from_the_welcome_and_from_a_refusal() -> None:
    attempts: list[int] = []

    async def server(connection: ServerConnection) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            refusal = {
                "type": "error",
                "code": "clock-skew",
                "message": "off",
                "server_time": time.time() + 500,
            }
            await connection.send(json.dumps(refusal))
            await connection.close(4401)
            return
        await greet_and_stay(connection)

    async def scenario(device: Device) -> None:
        await until(lambda: device.heard)

    offsets = run(server, scenario).identity.clock.offsets
    assert [round(offset / 10) * 10 for offset in offsets] == [500, 0]


@pytest.mark.parametrize("by_message", [True, False], ids=["refused handshake", "close code"])
def test_a_revoked_device_stops_trying(by_message: bool) -> None:
    async def server(connection: ServerConnection) -> None:
        if by_message:
            refusal = {"type": "error", "code": "device-revoked", "message": "The device was revoked."}
            await connection.send(json.dumps(refusal))
        else:
            await greet(connection)
        await connection.close(4403, "revoked")

    async def scenario() -> None:
        port = free_port()
        async with serve(server, "127.0.0.1", port):
            with pytest.raises(Revoked):
                await asyncio.wait_for(Device(port).socket.run(), 5)

    asyncio.run(scenario())


def test_any_other_refusal_is_tried_again_slowly() -> None:
    at: list[float] = []

    async def server(connection: ServerConnection) -> None:
        at.append(time.monotonic())
        await connection.send(json.dumps({"type": "error", "code": "device-unknown", "message": "Who?"}))
        await connection.close(4401)

    async def scenario(device: Device) -> None:
        await until(lambda: len(at) >= 3)

    run(server, scenario, refused_seconds=0.2)
    assert min(later - earlier for earlier, later in pairwise(at)) >= 0.09


@pytest.mark.parametrize("frame", ["no json", "[1]", b"\x00"])
def test_a_server_that_talks_nonsense_costs_the_connection_not_the_agent(frame: str | bytes) -> None:
    connections: list[int] = []

    async def server(connection: ServerConnection) -> None:
        connections.append(1)
        await greet(connection)
        await connection.send(frame)
        await connection.wait_closed()

    async def scenario(device: Device) -> None:
        await until(lambda: len(connections) >= 2)

    run(server, scenario)


def test_a_handler_that_fails_costs_the_connection_not_the_agent() -> None:
    connections: list[int] = []

    async def server(connection: ServerConnection) -> None:
        connections.append(1)
        await greet_and_stay(connection)

    async def broken(message: dict[str, Any]) -> None:
        raise RuntimeError("a bug")

    async def scenario(device: Device) -> None:
        device.socket._on_message = broken
        await until(lambda: len(connections) >= 2)

    run(server, scenario)


def test_stop_ends_it_at_once_even_between_attempts() -> None:
    async def scenario() -> float:
        device = Device(free_port(), backoff=Backoff(30, 30))
        running = asyncio.create_task(device.socket.run())
        await asyncio.sleep(0.1)
        started = time.monotonic()
        device.socket.stop()
        await asyncio.wait_for(running, 5)
        return time.monotonic() - started

    assert asyncio.run(scenario()) < 0.5


def test_waits_double_up_to_the_longest_and_start_anew_after_success() -> None:
    backoff = Backoff(0.2, 30.0, draw=lambda low, high: high)
    waits = [backoff.next() for _ in range(40)]
    assert waits[:4] == [0.2, 0.4, 0.8, 1.6]
    assert waits[-1] == 30.0
    backoff.reset()
    assert backoff.next() == 0.2
    assert Backoff(8.0, 30.0, draw=lambda low, high: high).next(3.0) == 3.0
    drawn = [Backoff(8.0, 30.0).next() for _ in range(200)]
    assert min(drawn) < 2.0
    assert max(drawn) > 6.0
