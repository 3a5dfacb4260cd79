"""One safetensors document: named arrays as bytes.

Writing uses the safetensors library. Reading follows the format's specification here, because the library
copies every tensor and a round reads one document per device; a document is checked completely (lengths,
offsets, types, no gap, no overlap) before numpy looks at it, and nothing in it is executed.
"""

import json
import math
import struct
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from strategies.exceptions import PackingError

Arrays = dict[str, npt.NDArray[Any]]

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
SUPPORTED = frozenset(DTYPES.values())

MAX_HEADER_BYTES = 10_000_000
MAX_DIMENSIONS = 32
_LENGTH = struct.Struct("<Q")


def shorten(text: object) -> str:
    """A foreign value for a message to people, never longer than a line."""
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """One safetensors document; the same arrays always give the same bytes."""
    for name, array in arrays.items():
        if array.dtype.newbyteorder("<") not in SUPPORTED:
            raise PackingError(f"tensor {shorten(name)}: {array.dtype} cannot be packed")
    # np.ascontiguousarray would turn a 0-d array into one of shape (1,)
    data: bytes = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    return data


def unpack(data: bytes) -> Arrays:
    """The arrays of a document as read-only views on data, in the order of its header."""
    header, body = _split(data)
    spans = []
    arrays: Arrays = {}
    for name, entry in header.items():
        dtype, shape, begin, end = _entry(name, entry)
        if not begin <= end <= len(body) or end - begin != math.prod(shape) * dtype.itemsize:
            raise PackingError(f"tensor {shorten(name)}: {dtype} {shape} does not fit bytes {begin} to {end}")
        spans.append((begin, end))
        arrays[name] = _view(name, body[begin:end], dtype, shape)
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise PackingError(f"the tensors leave a gap or overlap at byte {position}")
        position = end
    if position != len(body):
        raise PackingError(f"{len(body) - position} bytes belong to no tensor")
    return arrays


def metadata(data: bytes) -> dict[str, Any]:
    """What the writer of a document noted beside its tensors; nothing in it is to be trusted."""
    notes = _header(data)[0].get("__metadata__")
    return notes if isinstance(notes, dict) else {}


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    header, start = _header(data)
    header.pop("__metadata__", None)
    return header, memoryview(data)[start:]


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    if len(data) < _LENGTH.size:
        raise PackingError(f"a document of {len(data)} bytes has no header")
    (length,) = _LENGTH.unpack_from(data)
    if length > min(MAX_HEADER_BYTES, len(data) - _LENGTH.size):
        raise PackingError(f"the header claims {length} bytes of {len(data)}")
    start = _LENGTH.size + length
    return json_object(data[_LENGTH.size : start], "header"), start


def _entry(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise PackingError(f"tensor {shorten(name)}: the entry needs dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise PackingError(f"tensor {shorten(name)}: dtype {shorten(code)} is not one of {', '.join(DTYPES)}")
    if not _sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise PackingError(f"tensor {shorten(name)}: {shorten(shape)} is not a shape")
    if not _sizes(offsets) or len(offsets) != 2:
        raise PackingError(f"tensor {shorten(name)}: {shorten(offsets)} are not two offsets")
    begin, end = offsets
    return DTYPES[code], tuple(shape), begin, end


def _view(name: str, body: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    # numpy trusts a bool's byte to be 0 or 1 and computes nonsense with another
    if dtype.kind == "b" and np.frombuffer(body, dtype=np.uint8).max(initial=0) > 1:
        raise PackingError(f"tensor {shorten(name)}: a bool is neither 0 nor 1")
    try:
        return np.frombuffer(body, dtype=dtype).reshape(shape)
    except ValueError as error:
        raise PackingError(f"tensor {shorten(name)}: {error}") from error


def _sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= sys.maxsize for item in value)


def json_object(text: bytes | str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PackingError(f"the {what} is not JSON: {shorten(str(error))}") from error
    if not isinstance(value, dict):
        raise PackingError(f"the {what} is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key appears twice")
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
