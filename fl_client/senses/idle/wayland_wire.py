"""The few messages of the Wayland protocol that tell when input stops and when it comes back.

Sources: wayland.xml (wl_display, wl_registry, wl_callback), ext-idle-notify-v1.xml versions 1 and 2. Numbers
are in the byte order of the machine. No message used here carries a file descriptor.
"""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

DISPLAY, REGISTRY, CALLBACK, SEAT, NOTIFIER, NOTIFICATION = range(1, 7)
SYNC, GET_REGISTRY = 0, 1
BIND = 0
GET_IDLE, GET_INPUT_IDLE = 1, 2
ERROR_EVENT = 0
GLOBAL_EVENT = 0
IDLED, RESUMED = 0, 1
HEADER_BYTES = 8


@dataclass(frozen=True)
class Event:
    sender: int
    opcode: int
    body: bytes


@dataclass(frozen=True)
class Global:
    """A service that the compositor offers."""

    number: int
    interface: str
    version: int


def request(receiver: int, opcode: int, body: bytes = b"") -> bytes:
    return struct.pack("=II", receiver, HEADER_BYTES + len(body) << 16 | opcode) + body


def string(text: str) -> bytes:
    """With its length, a zero byte and padding."""
    data = text.encode() + b"\0"
    return struct.pack("=I", len(data)) + data.ljust((len(data) + 3) // 4 * 4, b"\0")


def get_registry() -> bytes:
    """Ask for all globals, and for a sign when all have been told."""
    registry = request(DISPLAY, GET_REGISTRY, struct.pack("=I", REGISTRY))
    return registry + request(DISPLAY, SYNC, struct.pack("=I", CALLBACK))


def bind(offer: Global, version: int, new_id: int) -> bytes:
    head, tail = struct.pack("=I", offer.number), struct.pack("=II", version, new_id)
    return request(REGISTRY, BIND, head + string(offer.interface) + tail)


def notify(version: int, milliseconds: int) -> bytes:
    """From version 2 on only real input counts; before, a film that keeps the screen on counts as input."""
    opcode = GET_INPUT_IDLE if version >= 2 else GET_IDLE
    return request(NOTIFIER, opcode, struct.pack("=III", NOTIFICATION, milliseconds, SEAT))


def offered(event: Event) -> Global:
    number, size = struct.unpack_from("=II", event.body)
    interface = event.body[8 : 8 + size - 1].decode()
    (version,) = struct.unpack_from("=I", event.body, 8 + (size + 3) // 4 * 4)
    return Global(number, interface, version)


class Compositor:
    """A connection. Its methods raise OSError, TimeoutError at the deadline among them."""

    def __init__(self, path: str, until: float) -> None:
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._wait_at_most(until)
            self._socket.connect(path)
        except BaseException:
            self.close()
            raise

    def send(self, data: bytes, until: float) -> None:
        self._wait_at_most(until)
        self._socket.sendall(data)

    def globals(self, until: float) -> dict[str, Global]:
        self.send(get_registry(), until)
        found: dict[str, Global] = {}
        while True:
            self._wait_at_most(until)
            self._receive()
            for event in self._complete():
                if event.sender == CALLBACK:
                    return found
                if (event.sender, event.opcode) == (REGISTRY, GLOBAL_EVENT):
                    offer = offered(event)
                    found[offer.interface] = offer

    def arrived(self) -> Iterator[Event]:
        """What has come in since the last look, without waiting."""
        self._socket.settimeout(0)
        while True:
            try:
                self._receive()
            except BlockingIOError:
                break
        return self._complete()

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the compositor closed the connection")
        self._buffer += data

    def _complete(self) -> Iterator[Event]:
        while len(self._buffer) >= HEADER_BYTES:
            sender, word = struct.unpack_from("=II", self._buffer)
            size, opcode = word >> 16, word & 0xFFFF
            if size < HEADER_BYTES:
                raise ConnectionResetError("the compositor sends something else than Wayland")
            if len(self._buffer) < size:
                return
            event = Event(sender, opcode, self._buffer[HEADER_BYTES:size])
            self._buffer = self._buffer[size:]
            if (event.sender, event.opcode) == (DISPLAY, ERROR_EVENT):
                raise ConnectionResetError("the compositor reports an error of protocol")
            yield event

    def _wait_at_most(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the compositor does not answer")
        self._socket.settimeout(left)
