"""No text of a device can break a page, the API or the database."""

import json
from typing import Any

import pytest

from fl_server import device_messages as said
from fl_server.exceptions import InvalidInput
from tests.server.machines import HARDWARE, HELLO, TELEMETRY

BAD = "a\x00b\x1b[31mc\ud800\x85d\x7f"
GOOD = "a b [31mc d"


def parsed(**message: Any) -> Any:
    return said.parse(json.dumps(message))


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in (name, *texts(item))]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


GPU = {"name": BAD, "total_bytes": 1, "free_bytes": 1, "driver": BAD}
DECISION = {"allowed": False, "reason": BAD}
PRIVATE = {"name": "x", "kind": "csv", "columns": [BAD], "rows": 1, "classes": {BAD: 1}}
MESSAGES = {
    "hello": HELLO
    | {
        "version": BAD,
        "platform": BAD,
        "hardware": HARDWARE | {"gpus": [GPU], "accelerator": "x\x00"},
        "decision": DECISION,
        "rules": {BAD: {BAD: [BAD, 1, None]}},
        "data": [PRIVATE],
    },
    "telemetry": TELEMETRY | {"gpus": [GPU], "decision": DECISION},
    "rules": {"type": "rules", "rules": {BAD: BAD}},
    "data": {"type": "data", "data": [PRIVATE]},
    "logs": {"type": "logs", "request": 1, "lines": [BAD]},
    "failed": {"type": "failed", "run": 1, "code": "x", "message": BAD},
}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_no_text_of_a_message_keeps_what_cannot_be_stored_or_shown(name: str) -> None:
    found = texts(parsed(**MESSAGES[name]).model_dump())
    assert GOOD in found
    assert not [text for text in found if not text.isprintable()]


def test_a_machine_that_joins_is_named_cleanly_and_keeps_its_keys_as_they_are() -> None:
    pem = "-----BEGIN\nx\n-----END\n"
    keys = {"secret": "s", "csr": pem, "node_key": pem, "node_proof": "p"}
    join = said.parse_join(keys | {"name": BAD, "platform": BAD, "machine_id": BAD, "hardware": HARDWARE})
    assert (join.name, join.platform, join.machine_id) == (GOOD, GOOD, GOOD)
    assert (join.csr, join.node_key) == (pem, pem)


def test_a_name_of_nothing_but_control_characters_is_no_name() -> None:
    keys = {"secret": "s", "csr": "c", "node_key": "k", "node_proof": "p"}
    with pytest.raises(InvalidInput, match="name"):
        said.parse_join(keys | {"name": "\x00\x01", "hardware": HARDWARE})


def test_whole_characters_and_lines_stay() -> None:
    assert parsed(type="failed", run=1, code="x", message="a\n\tü😀").message == "a\n\tü😀"


@pytest.mark.parametrize("text", ['{"type": "\\ud800', '"\\ud83d\\ude00"', "[" * 5000 + '"\\ud800"'])
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        said.parse(text)
