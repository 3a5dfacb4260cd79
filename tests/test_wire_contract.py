"""Client and server keep a copy of the wire format each. Here they meet: what one writes, the other reads."""

from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

import fl_client.wire
import strategies.wire
from fl_client import exchange, weights
from fl_client.exchange import BadInstruction
from strategies import packing
from strategies.document import pack

RUN, ROUND, FENCE = 12, 3, 7


def arrays(numbers: int = 6) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    return {
        "zeta.weight": draw.standard_normal((2, numbers)).astype(np.float32),
        "norm.scale": np.array(0.5, dtype=np.float32),
        "norm.batches": np.array(41, dtype=np.int64),
    }


def instruction(document: bytes, **config: Any) -> RecordDict:
    return packing.instruction(document, run=RUN, round=ROUND, fence=FENCE, config=config)


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype
        and found[name].shape == array.shape
        and np.array_equal(found[name], array)
        for name, array in expected.items()
    )


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "CHUNK_BYTES", 100)
    monkeypatch.setattr(exchange, "CHUNK_BYTES", 100)


def test_both_sides_keep_the_same_wire_module() -> None:
    client, server = (
        {name: value for name, value in vars(module).items() if name.isupper()}
        for module in (fl_client.wire, strategies.wire)
    )
    assert len(client) == 7
    assert client == server


def test_the_client_reads_the_instruction_that_the_server_writes() -> None:
    document = pack(arrays())
    read = exchange.read(instruction(document, **{"proximal-mu": 0.01}))
    assert (read.run, read.round, read.fence) == (RUN, ROUND, FENCE)
    assert read.config == {"proximal-mu": 0.01}
    assert read.weights == document
    assert same(weights.unpack(read.weights), arrays())


def test_the_server_reads_the_reply_that_the_client_writes() -> None:
    asked = exchange.read(instruction(pack(arrays())))
    document = weights.pack(arrays())
    content = exchange.write(asked, 600, {"train-loss": 0.25, "seconds": 1.5}, document)
    reply = packing.read_reply(content)
    assert (reply.run, reply.round, reply.fence, reply.examples) == (RUN, ROUND, FENCE, 600)
    assert reply.metrics == {"train-loss": 0.25, "seconds": 1.5}
    assert reply.nbytes == len(document)
    assert same(reply.arrays, arrays())


@pytest.mark.parametrize("numbers", [1, 200, 5000])
@pytest.mark.usefixtures("small_chunks")
def test_weights_of_many_chunks_arrive_whole_in_both_directions(numbers: int) -> None:
    document = pack(arrays(numbers))
    down = instruction(document)
    assert len(down) == -(-len(document) // 100) > 1
    asked = exchange.read(down)
    assert asked.weights == document
    up = exchange.write(asked, 1, {}, weights.pack(arrays(numbers)))
    assert len(up) > 1
    assert same(packing.read_reply(up).arrays, arrays(numbers))


@pytest.mark.usefixtures("small_chunks")
def test_a_lost_chunk_is_noticed_by_both_sides() -> None:
    down = instruction(pack(arrays(200)))
    asked = exchange.read(down)
    up = exchange.write(asked, 1, {}, asked.weights)
    lost = fl_client.wire.CHUNK.format(2)
    del down[lost], up[lost]
    with pytest.raises(BadInstruction, match="chunk"):
        exchange.read(down)
    with pytest.raises(packing.PackingError):
        packing.read_reply(up)


def test_another_format_is_refused_by_both_sides() -> None:
    down = instruction(pack(arrays()))
    up = exchange.write(exchange.read(down), 1, {}, pack(arrays()))
    for content, read, error in (
        (down, exchange.read, BadInstruction),
        (up, packing.read_reply, packing.PackingError),
    ):
        newer = RecordDict({"fit": ConfigRecord({**content["fit"], "format": 2})})
        with pytest.raises(error, match="2"):
            read(newer)
