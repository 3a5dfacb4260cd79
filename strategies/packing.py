"""Weights and headers as they travel: one safetensors document, cut into the records of a Flower message.

Writing uses the safetensors library. Reading follows the format's specification here, because the library
copies every tensor and a round reads one document per device; a document is checked completely (lengths,
offsets, types, no gap, no overlap) before numpy looks at it, and nothing in it is executed.
"""

import json
import math
import re
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, RecordDict
from safetensors.numpy import save

from strategies.exceptions import PackingError
from strategies.wire import CHUNK, CHUNK_BYTES, FIT, FORMAT, INSTRUCTION_KEYS, REPLY_KEYS

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
MAX_DOCUMENT_BYTES = 4_000_000_000
MAX_DIMENSIONS = 32
MAX_METRICS_CHARS = 16_384
MAX_METRICS = 64
METRIC_NAME = re.compile(r"[a-z0-9-]{1,40}")
# Sums of weighted values stay finite: 2^31 examples times as much is far below the largest float.
MAX_METRIC = 1e30
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Reply:
    run: int
    round: int
    fence: int
    examples: int
    metrics: dict[str, float]
    arrays: Arrays
    nbytes: int


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


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    if len(data) < _LENGTH.size:
        raise PackingError(f"a document of {len(data)} bytes has no header")
    (length,) = _LENGTH.unpack_from(data)
    if length > min(MAX_HEADER_BYTES, len(data) - _LENGTH.size):
        raise PackingError(f"the header claims {length} bytes of {len(data)}")
    start = _LENGTH.size + length
    header = _json_object(data[_LENGTH.size : start], "header")
    header.pop("__metadata__", None)
    return header, memoryview(data)[start:]


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


def _json_object(text: bytes | str, what: str) -> dict[str, Any]:
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


def instruction(
    document: bytes, *, run: int, round: int, fence: int, config: Mapping[str, Any]
) -> RecordDict:
    """The content that every device of a round gets: header, settings and the packed model."""
    try:
        settings = json.dumps(dict(config), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PackingError(f"the round's settings cannot be sent as JSON: {error}") from error
    chunks = [document[start : start + CHUNK_BYTES] for start in range(0, len(document), CHUNK_BYTES)]
    values = (FORMAT, run, round, fence, settings, len(chunks) - 1, chunks[0])
    content = RecordDict({FIT: ConfigRecord(dict(zip(INSTRUCTION_KEYS, values, strict=True)))})
    for number, chunk in enumerate(chunks[1:], start=1):
        content[CHUNK.format(number)] = ConfigRecord({"weights": chunk})
    return content


def read_reply(content: RecordDict, max_bytes: int = MAX_DOCUMENT_BYTES) -> Reply:
    """A device's reply, or PackingError. Nothing about the sender is trusted, sizes least of all."""
    header = content.get(FIT)
    if not isinstance(header, ConfigRecord) or set(header) != set(REPLY_KEYS):
        raise PackingError(f"the record {FIT!r} needs exactly the keys {', '.join(REPLY_KEYS)}")
    if _integer(header, "format") != FORMAT:
        raise PackingError(f"format {shorten(header['format'])} came, {FORMAT} is spoken here")
    document = _document(content, header, max_bytes)
    return Reply(
        run=_integer(header, "run"),
        round=_integer(header, "round"),
        fence=_integer(header, "fence"),
        examples=_integer(header, "examples"),
        metrics=_metrics(header["metrics"]),
        arrays=unpack(document),
        nbytes=len(document),
    )


def _document(content: RecordDict, header: ConfigRecord, max_bytes: int) -> bytes:
    count = _integer(header, "chunks")
    if count != len(content) - 1:
        raise PackingError(f"{count} further chunks are announced, {len(content) - 1} came")
    records = [header, *(content.get(CHUNK.format(number)) for number in range(1, count + 1))]
    chunks = []
    for record in records:
        chunk = record.get("weights") if isinstance(record, ConfigRecord) else None
        if not isinstance(chunk, bytes):
            raise PackingError("a chunk is missing or holds no bytes")
        chunks.append(chunk)
    size = sum(map(len, chunks))
    if size > max_bytes:
        raise PackingError(f"the weights take {size} bytes, at most {max_bytes} are allowed")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _integer(header: ConfigRecord, key: str) -> int:
    value = header[key]
    # bool is an int to isinstance, and True would pass for one example
    if type(value) is not int:
        raise PackingError(f"{key} must be an integer, {shorten(value)} came")
    return value


def _metrics(text: object) -> dict[str, float]:
    if not isinstance(text, str) or len(text) > MAX_METRICS_CHARS:
        raise PackingError(f"metrics must be a text of at most {MAX_METRICS_CHARS} characters")
    values = _json_object(text, "metrics")
    if len(values) > MAX_METRICS:
        raise PackingError(f"{len(values)} metrics came, at most {MAX_METRICS} are allowed")
    for name in values:
        if not METRIC_NAME.fullmatch(name):
            raise PackingError(
                f"a metric is called {shorten(name)}, allowed are 1 to 40 of a-z, 0-9 and hyphens"
            )
    return {name: _bounded(name, value) for name, value in values.items()}


def _bounded(name: str, value: object) -> float:
    try:
        number = float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not abs(number) <= MAX_METRIC:
        raise PackingError(
            f"metric {name} must be a number from -{MAX_METRIC:g} to {MAX_METRIC:g}, {shorten(value)} came"
        )
    return number
