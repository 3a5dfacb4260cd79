"""The web process writes what devices said also when no other sample comes, and before it ends."""

import asyncio
import time
from typing import Any

import pytest
from django.utils import timezone

from constellation_web import asgi
from fl_server.models import Device, TelemetryBucket
from fl_server.services import devices, signs, telemetry
from fl_server.services.keeper import Keeper
from tests.server.test_devices import hello
from tests.server.test_devices import telemetry as sample
from tests.server.world import World, device

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]

PATIENCE = 5.0


@pytest.fixture
def speaking(world: World, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device whose one sample nobody has written."""
    monkeypatch.setattr(signs, "signs", signs.Signs())
    monkeypatch.setattr(telemetry, "recorder", telemetry.Recorder())
    mine = device(world.owner, "new")
    devices.connected(mine, hello())
    devices.sign_of_life(mine, sample(cpu=50.0))
    return mine


def is_written(mine: Device) -> bool:
    return bool(Device.objects.get(pk=mine.pk).telemetry.get("cpu") == 50.0)


def test_a_lonely_sample_is_written_after_a_moment(speaking: Device) -> None:
    keeper = Keeper(seconds=0.05)
    keeper.start()
    until = time.monotonic() + PATIENCE
    try:
        while not is_written(speaking):
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        keeper.stop()


def test_stopping_writes_the_minute_under_way(speaking: Device) -> None:
    keeper = Keeper(seconds=60.0)
    keeper.start()
    keeper.stop()
    assert is_written(speaking)
    assert TelemetryBucket.objects.get().means["cpu"] == 50.0


def test_a_fault_does_not_end_the_keeper(speaking: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def fail() -> int:
        calls.append(timezone.now())
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(signs, "flush", fail)
    keeper = Keeper(seconds=0.02)
    keeper.start()
    until = time.monotonic() + PATIENCE
    while len(calls) < 3:
        assert time.monotonic() < until
        time.sleep(0.01)
    keeper.stop()


def test_the_server_keeps_from_its_start_to_its_end(speaking: Device) -> None:
    async def serve() -> list[str]:
        sent: list[str] = []
        incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> dict[str, str]:
            return next(incoming)

        async def send(message: dict[str, str]) -> None:
            sent.append(message["type"])

        await asgi.application({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
        return sent

    assert asyncio.run(serve()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert is_written(speaking)
