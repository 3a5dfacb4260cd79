"""A file as what it differs by from another one, without loss.

Both are read in blocks and combined by XOR. Weights of neighbouring rounds share their high bits, so that the
result has many zeros: bytes of equal rank within four are put together, then all is compressed by zlib. It
works for any two files; for those that have nothing in common it saves nothing.
"""

import struct
import zlib
from typing import IO, Final, Protocol

import numpy as np
import numpy.typing as npt

from strategies.exceptions import CheckpointError

MAGIC: Final = b"CSTDELT1"
BLOCK = 1 << 22
LEVEL = 3
_LENGTH = struct.Struct("<Q")
_WORD = 4


class Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...


def write(base: IO[bytes], whole: IO[bytes], size: int, out: IO[bytes]) -> None:
    """What leads from base to whole, which has `size` bytes."""
    out.write(MAGIC + _LENGTH.pack(size))
    compressor = zlib.compressobj(LEVEL)
    while block := whole.read(BLOCK):
        out.write(compressor.compress(_grouped(_combined(block, base.read(BLOCK))).tobytes()))
    out.write(compressor.flush())


def restore(base: IO[bytes], delta: IO[bytes], out: Sink) -> None:
    """The bytes that `write` saw as whole; CheckpointError where the delta is damaged."""
    head = delta.read(len(MAGIC) + _LENGTH.size)
    if len(head) < len(MAGIC) + _LENGTH.size or not head.startswith(MAGIC):
        raise CheckpointError("the file is no delta")
    (left,) = _LENGTH.unpack_from(head, len(MAGIC))
    inflated = _Inflated(delta)
    while left:
        block = inflated.read(min(BLOCK, left))
        left -= len(block)
        mixed = _ungrouped(np.frombuffer(block, np.uint8))
        out.write(_combined(mixed.tobytes(), base.read(BLOCK)).tobytes())


class _Inflated:
    """A compressed stream, so many bytes at a time."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._decompressor = zlib.decompressobj()

    def read(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            pending = self._decompressor.unconsumed_tail or self._source.read(1 << 16)
            try:
                part = self._decompressor.decompress(pending, missing)
            except zlib.error as error:
                raise CheckpointError(f"the delta is damaged: {error}") from error
            if not part and not pending:
                raise CheckpointError("the delta ends too early")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _combined(block: bytes, other: bytes) -> npt.NDArray[np.uint8]:
    """block XOR other, which counts as zeros where it is shorter."""
    mixed = np.frombuffer(block, np.uint8).copy()
    part = np.frombuffer(other, np.uint8)[: mixed.size]
    mixed[: part.size] ^= part
    return mixed


def _grouped(block: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """All first bytes of four, then all second ones, and so on; what is left over stays at the end."""
    even = block.size - block.size % _WORD
    return np.concatenate([block[:even].reshape(-1, _WORD).T.reshape(-1), block[even:]])


def _ungrouped(block: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    even = block.size - block.size % _WORD
    return np.concatenate([block[:even].reshape(_WORD, -1).T.reshape(-1), block[even:]])
