import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fl_client.policy.facts import Session
from fl_client.senses.desktop import Desktop
from fl_client.senses.idle import wayland_wire as wire
from fl_client.senses.idle.reading import Reading
from fl_client.senses.idle.wayland import Wayland, quiet_since
from fl_client.senses.idle.wayland_wire import Event, Global
from tests.client.senses.buses import wait_until

# Recorded from KWin 5.27.5.
SEAT = bytes.fromhex("0200000000001c000c00000008000000776c5f736561740008000000")
NOTIFIER = bytes.fromhex(
    "0200000000002c0015000000150000006578745f69646c655f6e6f7469666965725f76310000000001000000"
)
DONE = bytes.fromhex("0300000000000c0000000000") + bytes.fromhex("0100000001000c0003000000")
CAPABILITIES = bytes.fromhex("0400000000000c0002000000")
IDLED = bytes.fromhex("0600000000000800")
RESUMED = bytes.fromhex("0600000001000800")
NOTIFIER_2 = NOTIFIER[:-4] + b"\2\0\0\0"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Compositor:
    """Says what was recorded, and notes what it was asked."""

    def __init__(self, path: Path, *says: bytes) -> None:
        self.asked = b""
        self.client: socket.socket | None = None
        self._says = says
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self.client, _ = self._listening.accept()
        with self.client:
            for answer in self._says:
                self.asked += self.client.recv(4096)
                self.client.sendall(answer)
            while data := self.client.recv(4096):
                self.asked += data

    def tell(self, data: bytes) -> None:
        assert self.client is not None
        self.client.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self.client is not None:
                self.client.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listening.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wayland-0"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kwin(path: Path) -> Iterator[Compositor]:
    compositor = Compositor(path, SEAT + NOTIFIER + DONE)
    yield compositor
    compositor.close()


def backend(path: Path, clock: Clock) -> Wayland:
    return Wayland(lambda: Desktop(wayland=str(path)), clock=clock)


def test_offers_are_read():
    assert wire.offered(Event(2, 0, SEAT[8:])) == Global(12, "wl_seat", 8)
    assert wire.offered(Event(2, 0, NOTIFIER[8:])) == Global(21, "ext_idle_notifier_v1", 1)


@pytest.mark.parametrize(
    ("before", "events", "expected"),
    [
        (None, [], None),
        (None, [wire.IDLED], 99.0),
        (99.0, [], 99.0),
        (50.0, [wire.RESUMED], None),
        (50.0, [wire.RESUMED, wire.IDLED], 99.0),
        (None, [wire.IDLED, wire.RESUMED], None),
    ],
)
def test_quiet_begins_a_second_before_the_event_and_ends_with_input(before, events, expected):
    told = [Event(wire.NOTIFICATION, opcode, b"") for opcode in events]
    assert quiet_since(before, told, now=100.0) == expected


def test_events_of_other_objects_mean_nothing():
    assert quiet_since(None, [Event(wire.SEAT, wire.IDLED, b"")], now=100.0) is None


def test_the_time_since_the_last_input_is_counted_here(kwin, path, clock):
    asked = backend(path, clock)
    assert asked.read() == Reading(0.0, Session.ACTIVE), "in use until the compositor says otherwise"
    kwin.tell(CAPABILITIES + IDLED)
    wait_until(lambda: asked.read().idle_seconds == 1.0)
    clock.now += 300
    assert asked.read().idle_seconds == 301.0
    kwin.tell(RESUMED)
    wait_until(lambda: asked.read().idle_seconds == 0.0)


def test_an_event_in_two_parts_is_put_together(kwin, path, clock):
    asked = backend(path, clock)
    asked.read()
    kwin.tell(IDLED[:5])
    assert asked.read().idle_seconds == 0.0
    kwin.tell(IDLED[5:])
    wait_until(lambda: asked.read().idle_seconds == 1.0)


@pytest.mark.parametrize(("offer", "opcode"), [(NOTIFIER, 1), (NOTIFIER_2, 2)], ids=["old", "new"])
def test_only_real_input_counts_where_the_compositor_can_tell(path, clock, offer, opcode):
    compositor = Compositor(path, SEAT + offer + DONE)
    backend(path, clock).read()
    wanted = struct.pack("=IIIII", 5, 20 << 16 | opcode, 6, 1000, 4)
    wait_until(lambda: compositor.asked.endswith(wanted))
    compositor.close()


def test_a_compositor_that_goes_is_unknown_and_found_again(path, clock):
    first = Compositor(path, SEAT + NOTIFIER + DONE)
    asked = backend(path, clock)
    asked.read()
    first.tell(IDLED)
    wait_until(lambda: asked.read().idle_seconds == 1.0)
    first.close()
    assert "cannot be asked" in asked.probe()
    path.unlink()
    second = Compositor(path, SEAT + NOTIFIER + DONE)
    assert asked.read().idle_seconds == 0.0, "what the first one said is forgotten"
    second.close()


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (SEAT + DONE, "does not offer ext_idle_notifier_v1"),
        (NOTIFIER + DONE, "does not offer ext_idle_notifier_v1"),
        # An error event for the display, and something that is no Wayland.
        (bytes.fromhex("01000000000014000200000000000000") + b"bad\0", "error of protocol"),
        (bytes(16), "something else than Wayland"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "cannot be asked"),
    ],
)
def test_a_compositor_of_no_use_is_told(path, clock, says, expected):
    compositor = Compositor(path, says)
    asked = Wayland(lambda: Desktop(wayland=str(path)), seconds=0.2, clock=clock)
    assert expected in asked.probe()
    compositor.close()


def test_without_wayland_the_reason_is_told(clock):
    assert "no Wayland compositor" in Wayland(Desktop, clock=clock).probe()


def test_a_compositor_that_hangs_costs_the_deadline_and_not_more(path, clock):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        started = time.monotonic()
        asked = Wayland(lambda: Desktop(wayland=str(path)), seconds=0.2, clock=clock)
        assert "cannot be asked" in asked.probe()
        assert 0.15 < time.monotonic() - started < 2
