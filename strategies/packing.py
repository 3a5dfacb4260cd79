"""Weights and headers as they travel: one safetensors document, cut into the records of a Flower message."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import ConfigRecord, RecordDict

from strategies.document import Arrays, json_object, shorten, unpack
from strategies.exceptions import PackingError
from strategies.wire import CHUNK, CHUNK_BYTES, FIT, FORMAT, INSTRUCTION_KEYS, REPLY_KEYS

MAX_DOCUMENT_BYTES = 4_000_000_000
MAX_METRICS_CHARS = 16_384
MAX_METRICS = 64
METRIC_NAME = re.compile(r"[a-z0-9-]{1,40}")
# Sums of weighted values stay finite: 2^31 examples times as much is far below the largest float.
MAX_METRIC = 1e30


@dataclass(frozen=True)
class Reply:
    run: int
    round: int
    fence: int
    examples: int
    metrics: dict[str, float]
    arrays: Arrays
    nbytes: int


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
    values = json_object(text, "metrics")
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
