"""Frames on the pipe between the agent and its worker.

A frame: the length of its header (4 bytes, big-endian), the header (a JSON object with "type" and "payload",
the number of payload bytes), and the payload.
"""

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from fl_client.errors import FrameError

MAX_HEADER = 1 << 20
MAX_PAYLOAD = 1 << 32
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class Frame:
    header: dict[str, Any]
    payload: bytes = b""

    @property
    def type(self) -> str:
        return str(self.header["type"])


def head(header: Mapping[str, Any], payload_bytes: int = 0) -> bytes:
    """Everything of a frame that goes before its payload."""
    text = json.dumps({**header, "payload": payload_bytes}, allow_nan=False).encode()
    return _LENGTH.pack(len(text)) + text


def write(stream: BinaryIO, header: Mapping[str, Any], payload: bytes = b"") -> None:
    stream.write(head(header, len(payload)))
    stream.write(payload)
    stream.flush()


def read(stream: BinaryIO) -> Frame | None:
    """The next frame of a buffered stream, or None where the stream ended between two frames."""
    start = stream.read(_LENGTH.size)
    if not start:
        return None
    if len(start) < _LENGTH.size:
        raise FrameError("The pipe ended inside a frame.")
    header = _parse(_exactly(stream, _length(start)))
    return Frame(header, _exactly(stream, header["payload"]))


async def read_async(stream: asyncio.StreamReader) -> Frame | None:
    """The same for an asyncio stream."""
    try:
        start = await stream.readexactly(_LENGTH.size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise FrameError("The pipe ended inside a frame.") from error
        return None
    try:
        header = _parse(await stream.readexactly(_length(start)))
        return Frame(header, await stream.readexactly(header["payload"]))
    except asyncio.IncompleteReadError as error:
        raise FrameError("The pipe ended inside a frame.") from error


def _length(start: bytes) -> int:
    length = int(_LENGTH.unpack(start)[0])
    if length > MAX_HEADER:
        raise FrameError(f"A frame's header has {length} bytes, more than {MAX_HEADER}.")
    return length


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise FrameError("A frame's header is not JSON.") from error
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise FrameError("A frame's header has no type.")
    size = header.get("payload")
    if type(size) is not int or not 0 <= size <= MAX_PAYLOAD:
        raise FrameError(f"A frame's payload has an impossible size: {size!r}.")
    return header


def _exactly(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise FrameError("The pipe ended inside a frame.")
    return content
