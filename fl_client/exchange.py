"""Reading an instruction and writing a reply, as wire.py has them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flwr.app import ConfigRecord, Message, RecordDict

from fl_client.errors import ClientError
from fl_client.wire import CHUNK, CHUNK_BYTES, FIT, FORMAT, INSTRUCTION_KEYS, REPLY_KEYS


class Link(Protocol):
    """The way to the engine; `fl_client.fleet.FleetLink` is one."""

    def pull(self) -> Message | None: ...
    def reply(self, to: Message, content: RecordDict, seconds: float) -> None: ...
    def confirm(self, message: Message) -> None: ...


class BadInstruction(ClientError):
    code = "bad-instruction"


@dataclass(frozen=True)
class Instruction:
    run: int
    round: int
    fence: int
    config: dict[str, Any]
    weights: bytes


def read(content: RecordDict) -> Instruction:
    header = content.get(FIT)
    if not isinstance(header, ConfigRecord) or set(header) != set(INSTRUCTION_KEYS):
        raise BadInstruction(f"The record {FIT!r} needs exactly {', '.join(INSTRUCTION_KEYS)}.")
    if header["format"] != FORMAT:
        raise BadInstruction(f"The server speaks format {header['format']!r}, this client {FORMAT}.")
    return Instruction(
        run=_integer(header, "run"),
        round=_integer(header, "round"),
        fence=_integer(header, "fence"),
        config=_config(header["config"]),
        weights=_weights(content, header),
    )


def _integer(header: ConfigRecord, key: str) -> int:
    value = header[key]
    if type(value) is not int:
        raise BadInstruction(f"{key} must be an integer, {value!r} came.")
    return value


def _config(text: object) -> dict[str, Any]:
    try:
        config = json.loads(str(text))
    except ValueError as exc:
        raise BadInstruction(f"The round's settings are not JSON: {exc}.") from exc
    if not isinstance(config, dict):
        raise BadInstruction("The round's settings are not a JSON object.")
    return config


def _weights(content: RecordDict, header: ConfigRecord) -> bytes:
    chunks = _integer(header, "chunks")
    if chunks != len(content) - 1:
        raise BadInstruction(f"{chunks} further chunks are announced, {len(content) - 1} came.")
    records = [header, *(content.get(CHUNK.format(number)) for number in range(1, chunks + 1))]
    parts = [record.get("weights") if isinstance(record, ConfigRecord) else None for record in records]
    whole = [part for part in parts if isinstance(part, bytes)]
    if len(whole) != len(parts):
        raise BadInstruction("A chunk of the weights is missing.")
    return whole[0] if len(whole) == 1 else b"".join(whole)


def write(
    instruction: Instruction, examples: int, metrics: Mapping[str, float], weights: bytes
) -> RecordDict:
    chunks = [weights[start : start + CHUNK_BYTES] for start in range(0, len(weights), CHUNK_BYTES)] or [b""]
    values = (
        FORMAT,
        instruction.run,
        instruction.round,
        instruction.fence,
        examples,
        json.dumps(dict(metrics)),
        len(chunks) - 1,
        chunks[0],
    )
    content = RecordDict({FIT: ConfigRecord(dict(zip(REPLY_KEYS, values, strict=True)))})
    for number, chunk in enumerate(chunks[1:], start=1):
        content[CHUNK.format(number)] = ConfigRecord({"weights": chunk})
    return content
