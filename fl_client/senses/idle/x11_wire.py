"""The few messages of the X protocol that ask a server how long its keyboard and mouse have been quiet.

Spoken over a socket of our own, not through libX11: that library ends the whole process when its server goes
away, as it does when the owner logs out, and knows no deadlines. Sources: X Window System Protocol, X11R7;
MIT-SCREEN-SAVER 1.1.
"""

import socket
import struct
import time
from pathlib import Path

from fl_client.senses.desktop import X_SOCKETS

COOKIE = b"MIT-MAGIC-COOKIE-1"
QUERY_EXTENSION = 98
SCREEN_SAVER_QUERY_INFO = 1
REPLY = 1
# Only events that a client asks for are longer; a change of the keyboard is told without being asked.
EVENT_BYTES = 32


def cookie(authority: bytes, display: str) -> bytes:
    """The secret for `display` (":0") in an authority file; empty where it has none."""
    number = display[1:].encode()
    at = 0
    while at + 2 <= len(authority):
        at += 2  # the family of the address: every entry is of this machine or of one that shares its name
        fields = []
        for _ in range(4):
            (size,) = struct.unpack_from(">H", authority, at)
            fields.append(authority[at + 2 : at + 2 + size])
            at += 2 + size
        _, for_number, name, data = fields
        if name == COOKIE and for_number in (number, b""):
            return data
    return b""


def hello(secret: bytes) -> bytes:
    name = COOKIE if secret else b""
    start = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(secret))
    return start + _padded(name) + _padded(secret)


def root_window(accepted: bytes) -> int:
    """Out of the server's answer to `hello`, without its first eight bytes."""
    (vendor_size,) = struct.unpack_from("<H", accepted, 16)
    formats = accepted[21]
    (root,) = struct.unpack_from("<I", accepted, 32 + _rounded(vendor_size) + 8 * formats)
    return int(root)


def query_extension(name: bytes) -> bytes:
    body = struct.pack("<Hxx", len(name)) + _padded(name)
    return struct.pack("<BxH", QUERY_EXTENSION, 1 + len(body) // 4) + body


def extension_opcode(reply: bytes) -> int:
    """0 where the server does not have the extension."""
    present, opcode = reply[8], reply[9]
    return int(opcode) if present else 0


def query_saver(opcode: int, window: int) -> bytes:
    return struct.pack("<BBHI", opcode, SCREEN_SAVER_QUERY_INFO, 2, window)


def idle_milliseconds(reply: bytes) -> int:
    return int(struct.unpack_from("<I", reply, 16)[0])


def _rounded(size: int) -> int:
    return (size + 3) // 4 * 4


def _padded(data: bytes) -> bytes:
    return data.ljust(_rounded(len(data)), b"\0")


class Display:
    """A connection to a local X server. Its methods raise OSError, TimeoutError at the deadline."""

    def __init__(self, display: str, authority: str, until: float) -> None:
        path = Path(authority) if authority else Path.home() / ".Xauthority"
        secret = cookie(path.read_bytes(), display) if path.is_file() else b""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._wait_at_most(until)
            self._socket.connect(str(X_SOCKETS / f"X{display[1:]}"))
            self._socket.sendall(hello(secret))
            self.root = root_window(self._accepted(until))
        except BaseException:
            self.close()
            raise

    def ask(self, request: bytes, until: float) -> bytes:
        self._wait_at_most(until)
        self._socket.sendall(request)
        while True:
            packet = self._receive(EVENT_BYTES, until)
            if packet[0] == 0:
                raise ConnectionRefusedError(f"the X server answers with error {packet[1]}")
            if packet[0] == REPLY:
                (more,) = struct.unpack_from("<I", packet, 4)
                return packet + self._receive(4 * more, until)

    def close(self) -> None:
        self._socket.close()

    def _accepted(self, until: float) -> bytes:
        accepted, reason_size, more = struct.unpack("<BBxxxxH", self._receive(8, until))
        rest = self._receive(4 * more, until)
        if accepted != 1:
            reason = rest[:reason_size].decode("latin-1").strip()
            raise ConnectionRefusedError(f"the X server refuses this client: {reason}")
        return rest

    def _receive(self, size: int, until: float) -> bytes:
        data = b""
        while len(data) < size:
            self._wait_at_most(until)
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the X server closed the connection")
            data += part
        return data

    def _wait_at_most(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the X server does not answer")
        self._socket.settimeout(left)
