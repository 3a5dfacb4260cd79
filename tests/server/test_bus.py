import asyncio
import logging
import queue
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer

from fl_server import bus, events
from fl_server.platform import redis
from tests.waiting import until

pytestmark = pytest.mark.services

Inbox = queue.SimpleQueue[dict[str, Any]]
NewBus = Callable[[], bus.Bus]


def message(number: int) -> dict[str, Any]:
    return {"type": "run.message", "payload": {"number": number}}


def received(inbox: Inbox, count: int, seconds: float = 5.0) -> list[int]:
    return [inbox.get(timeout=seconds)["payload"]["number"] for _ in range(count)]


class OwnRedis:
    """A Redis that a test may stop and start."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "r.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [redis.executable(), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self.socket.parent)
        until(self.socket.exists, "Redis is up")

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None
            self.socket.unlink(missing_ok=True)


@pytest.fixture
def own_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnRedis]:
    # A socket's path has some hundred bytes; a test's own folder may be deeper.
    with tempfile.TemporaryDirectory() as folder:
        server = OwnRedis(Path(folder))
        layer = RedisPubSubChannelLayer(hosts=[f"unix://{server.socket}?db=0"])
        monkeypatch.setattr(bus, "get_channel_layer", lambda: layer)
        yield server
        server.stop()


@pytest.fixture
def new_bus() -> Iterator[NewBus]:
    """Buses that fall silent with the test; in production they live as long as their process."""
    made: list[bus.Bus] = []

    def make() -> bus.Bus:
        made.append(bus.Bus())
        return made[-1]

    yield make
    for each in made:
        asyncio.run_coroutine_threadsafe(_silence(), each._loop).result(5)
        each._loop.call_soon_threadsafe(each._loop.stop)
        until(lambda loop=each._loop: not loop.is_running(), "its loop ended")
        each._loop.close()


async def _silence() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def test_messages_reach_every_listener_of_their_group_in_order(new_bus: NewBus) -> None:
    sender, listener = new_bus(), new_bus()
    mine, also_mine, other = Inbox(), Inbox(), Inbox()
    listener.subscribe("bus-test", mine.put)
    listener.subscribe("bus-test", also_mine.put)
    listener.subscribe("bus-other", other.put)
    for number in range(100):
        sender.send("bus-test", message(number))
    assert received(mine, 100) == list(range(100))
    assert received(also_mine, 100) == list(range(100))
    assert other.empty()


def test_an_event_about_a_run_reaches_its_server_app(
    django_capture_on_commit_callbacks: Any, db: None, new_bus: NewBus
) -> None:
    inbox = Inbox()
    new_bus().subscribe(events.run_group(4711), inbox.put)
    with django_capture_on_commit_callbacks(execute=True):
        events.tell_run(4711, type="ready", node="9")
        assert inbox.empty()
    assert inbox.get(timeout=5) == {"type": "run.message", "payload": {"type": "ready", "node": "9"}}


def test_a_process_has_one_bus_and_a_forked_child_makes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    first = bus.get()
    assert bus.get() is first
    monkeypatch.setattr(first, "_pid", -1)
    assert bus.get() is not first


def test_a_listener_that_fails_on_one_message_gets_the_next(new_bus: NewBus) -> None:
    inbox = Inbox()

    def deliver(received: dict[str, Any]) -> None:
        if received["payload"]["number"] == 0:
            raise ValueError("a listener's own fault")
        inbox.put(received)

    listener = new_bus()
    listener.subscribe("bus-faulty", deliver)
    for number in range(3):
        listener.send("bus-faulty", message(number))
    assert received(inbox, 2) == [1, 2]


def test_a_redis_that_is_down_costs_only_the_event(
    own_redis: OwnRedis, caplog: pytest.LogCaptureFixture, new_bus: NewBus
) -> None:
    sender = new_bus()
    with caplog.at_level(logging.WARNING, "fl_server.bus"):
        before = time.monotonic()
        sender.send("bus-test", message(1))
        assert time.monotonic() - before < 0.5
        until(lambda: "event for bus-test not delivered" in caplog.text, "the lost event is noted")


def test_listening_begins_when_redis_comes_up(own_redis: OwnRedis, new_bus: NewBus) -> None:
    inbox = Inbox()
    listener = new_bus()
    listener.subscribe("bus-test", inbox.put)
    own_redis.start()
    sender = new_bus()

    def arrives() -> bool:
        sender.send("bus-test", message(1))
        time.sleep(0.1)
        return not inbox.empty()

    until(arrives, "a message arrives")


def test_listening_goes_on_after_redis_restarted(own_redis: OwnRedis, new_bus: NewBus) -> None:
    own_redis.start()
    inbox = Inbox()
    both = new_bus()
    both.subscribe("bus-test", inbox.put)
    both.send("bus-test", message(1))
    assert received(inbox, 1) == [1]
    own_redis.stop()
    both.send("bus-test", message(2))
    own_redis.start()

    def arrives() -> bool:
        both.send("bus-test", message(3))
        time.sleep(0.1)
        return not inbox.empty()

    until(arrives, "a message arrives")
    assert received(inbox, 1) == [3]
