import json

import pytest
from flwr.app import ConfigRecord, RecordDict

from fl_client import exchange
from fl_client.exchange import BadInstruction, Instruction
from fl_client.wire import CHUNK_BYTES, REPLY_KEYS

HEADER = {
    "format": 1,
    "run": 12,
    "round": 3,
    "fence": 7,
    "config": '{"proximal-mu": 0.01}',
    "chunks": 0,
    "weights": b"first",
}


def content(*chunks: bytes, **changes: object) -> RecordDict:
    header = {**HEADER, "chunks": len(chunks), **changes}
    records = {
        f"chunk-{number:03d}": ConfigRecord({"weights": c}) for number, c in enumerate(chunks, start=1)
    }
    return RecordDict({"fit": ConfigRecord(header), **records})


def test_an_instruction_in_one_piece():
    assert exchange.read(content()) == Instruction(12, 3, 7, {"proximal-mu": 0.01}, b"first")


def test_an_instruction_in_chunks_is_put_together_in_their_order():
    assert exchange.read(content(b"-second", b"-third")).weights == b"first-second-third"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (RecordDict(), "needs exactly"),
        (RecordDict({"fit": ConfigRecord({"format": 1})}), "needs exactly"),
        (content(extra=1), "needs exactly"),
        (content(format=2), "speaks format 2"),
        (content(chunks=2), "2 further chunks"),
        (content(b"x", chunks=0), "0 further chunks"),
        (content(b"x", chunks="1"), "chunks must be an integer"),
        (content(run="12"), "run must be an integer"),
        (content(round=1.0), "round must be an integer"),
        (content(fence=True), "fence must be an integer"),
        (content(config="{"), "not JSON"),
        (content(config="[1]"), "not a JSON object"),
        (content(weights="text"), "chunk of the weights is missing"),
    ],
)
def test_what_is_no_instruction_is_refused_with_its_reason(bad, says):
    with pytest.raises(BadInstruction, match=says) as caught:
        exchange.read(bad)
    assert caught.value.code == "bad-instruction"


def test_a_chunk_under_another_name_is_missed():
    bad = content(b"x")
    bad["chunk-002"] = bad["chunk-001"]
    del bad["chunk-001"]
    with pytest.raises(BadInstruction, match="missing"):
        exchange.read(bad)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5])
def test_a_reply_is_cut_into_chunks_that_make_up_the_weights(size):
    instruction = exchange.read(content())
    weights = bytes(i % 251 for i in range(1000)) * (size // 1000) + bytes(size % 1000)
    reply = exchange.write(instruction, 400, {"train-loss": 0.5}, weights)
    header = reply["fit"]
    assert set(header) == set(REPLY_KEYS)
    assert [header[key] for key in ("format", "run", "round", "fence", "examples")] == [1, 12, 3, 7, 400]
    assert json.loads(header["metrics"]) == {"train-loss": 0.5}
    parts = [header["weights"], *(reply[f"chunk-{n:03d}"]["weights"] for n in range(1, header["chunks"] + 1))]
    assert b"".join(parts) == weights
    assert len(reply) == 1 + header["chunks"]
    assert max(map(len, parts)) <= CHUNK_BYTES
