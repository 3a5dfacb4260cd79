import json
import struct

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from safetensors.numpy import load

from strategies import wire
from strategies.document import DTYPES, pack, unpack
from strategies.exceptions import PackingError
from strategies.packing import instruction, read_reply

from .world import FENCE, RUN, model, record, reply_content


def document(header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def same(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


def test_names_shapes_and_dtypes_survive_packing():
    arrays = model()
    assert same(unpack(pack(arrays)), arrays)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4)], ids=str)
def test_every_dtype_and_shape_survives_packing(dtype, shape):
    arrays = {"x": np.random.default_rng(1).integers(0, 2, shape).astype(dtype)}
    assert same(unpack(pack(arrays)), arrays)


def test_reading_agrees_with_the_safetensors_library_on_random_models():
    draw = np.random.default_rng(5)
    for _ in range(50):
        arrays = {}
        for name in range(draw.integers(0, 8)):
            shape = tuple(draw.integers(0, 5, draw.integers(0, 4)))
            dtype = list(DTYPES.values())[draw.integers(len(DTYPES))]
            arrays[f"layer {name} ü"] = draw.integers(0, 2, shape).astype(dtype)
        data = pack(arrays)
        assert same(unpack(data), load(data))
        assert same(unpack(data), arrays)


def test_equal_arrays_give_equal_bytes_whatever_their_order_and_layout():
    arrays = model()
    arrays["zeta.weight"] = np.asfortranarray(arrays["zeta.weight"])
    assert pack(arrays) == pack(dict(reversed(model().items())))


def test_big_endian_arrays_arrive_with_their_values():
    arrays = {"x": np.array([1.5, -2.0], dtype=">f4")}
    assert unpack(pack(arrays))["x"].tolist() == [1.5, -2.0]


def test_a_dtype_without_a_name_in_the_format_is_refused():
    with pytest.raises(PackingError, match=r"'x'.*complex128"):
        pack({"x": np.zeros(2, dtype=np.complex128)})


def test_unpacked_arrays_are_views_that_nobody_can_write_to():
    data = pack({"x": np.ones(3, dtype=np.float32)})
    array = unpack(data)["x"]
    assert not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(data, dtype=np.uint8))


MALFORMED = {
    "empty": b"",
    "header cut": document({"x": entry()}, b"1234")[:12],
    "header longer than the document": document({}, length=1 << 60),
    "not JSON": document(b"{'x'}"),
    "not UTF-8": document(b'{"\xff": 1}'),
    "not an object": document([]),
    "nested too deep": document(b"[" * 100_000),
    "a number of 5000 digits": document(b'{"x": ' + b"9" * 5000 + b"}"),
    "entry of another type": document({"x": 3}),
    "key missing": document({"x": {"dtype": "F32", "shape": [1]}}, b"1234"),
    "unknown dtype": document({"x": entry("BF16", (2,))}, b"1234"),
    "dtype not a text": document({"x": entry(["F32"])}, b"1234"),
    "negative dimension": document({"x": entry(shape=(-1,))}, b"1234"),
    "bool dimension": document({"x": entry(shape=(True,))}, b"1234"),
    "fractional dimension": document({"x": entry(shape=(1.0,))}, b"1234"),
    "too many dimensions": document({"x": entry(shape=(1,) * 100)}, b"1234"),
    "product beyond 64 bits": document({"x": entry(shape=(2**40, 2**40))}, b"1234"),
    "huge but empty": document({"x": entry(shape=(2**62, 2**62, 0), offsets=(0, 0))}),
    "one offset": document({"x": entry(offsets=(0,))}, b"1234"),
    "offsets swapped": document({"x": entry(offsets=(4, 0))}, b"1234"),
    "offset beyond the end": document({"x": entry(shape=(2,), offsets=(0, 8))}, b"1234"),
    "shape and bytes differ": document({"x": entry(shape=(2,))}, b"1234"),
    "overlap": document({"x": entry(), "y": entry()}, b"1234"),
    "gap": document({"x": entry(), "y": entry(offsets=(8, 12))}, b"123412341234"),
    "bytes left over": document({"x": entry()}, b"123412"),
    "name twice": document(b'{"x": 1, "x": 2}'),
    "bool that is neither": document({"x": entry("BOOL", (4,))}, b"\x00\x01\x02\x00"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_document_is_refused(data):
    with pytest.raises(PackingError):
        unpack(data)


def test_a_document_with_flipped_or_cut_bytes_is_read_or_refused_but_never_crashes():
    data = bytearray(pack(model()))
    draw = np.random.default_rng(3)
    outcomes = []
    for _ in range(2000):
        broken = bytearray(data)
        broken[draw.integers(len(data))] = draw.integers(256)
        try:
            unpack(bytes(broken[: draw.integers(len(data) - 20, len(data) + 1)]))
            outcomes.append("read")
        except PackingError:
            outcomes.append("refused")
    assert len(outcomes) == 2000
    assert "refused" in outcomes


def test_an_error_about_a_foreign_name_stays_short():
    with pytest.raises(PackingError) as caught:
        unpack(document({"x" * 100_000: 3}))
    assert len(str(caught.value)) < 200


def test_an_instruction_has_the_header_of_the_contract():
    data = pack(model())
    content = instruction(data, run=12, round=3, fence=7, config={"proximal-mu": 0.01})
    header = content[wire.FIT]
    assert tuple(header) == wire.INSTRUCTION_KEYS
    assert [header[key] for key in ("format", "run", "round", "fence", "chunks")] == [1, 12, 3, 7, 0]
    assert json.loads(header["config"]) == {"proximal-mu": 0.01}
    assert header["weights"] == data


def test_a_large_model_is_cut_into_chunks_that_a_reader_can_join():
    arrays = {"x": np.arange(4_000_000, dtype=np.float32)}
    content = reply_content(arrays)
    assert list(content) == ["fit", "chunk-001", "chunk-002"]
    assert content["fit"]["chunks"] == 2
    assert max(len(part["weights"]) for part in content.values()) == wire.CHUNK_BYTES
    assert same(read_reply(content).arrays, arrays)


@pytest.mark.parametrize("setting", [b"bytes", float("nan")])
def test_settings_that_json_cannot_carry_are_refused(setting):
    with pytest.raises(PackingError, match="settings"):
        instruction(b"", run=1, round=1, fence=1, config={"x": setting})


def test_a_reply_is_read_with_its_numbers():
    content = reply_content(model(), examples=600, round=4, metrics={"train-loss": 0.5, "seconds": 3})
    reply = read_reply(content)
    assert (reply.run, reply.round, reply.fence, reply.examples) == (RUN, 4, FENCE, 600)
    assert reply.metrics == {"train-loss": 0.5, "seconds": 3.0}
    assert reply.nbytes == len(pack(model()))
    assert same(reply.arrays, model())


BAD_HEADERS = {
    "another format": {"format": 2},
    "format as text": {"format": "1"},
    "examples as float": {"examples": 10.0},
    "examples as bool": {"examples": True},
    "examples as text": {"examples": "10"},
    "examples as list": {"examples": [10]},
    "run as float": {"run": 12.0},
    "metrics not a text": {"metrics": 3},
    "metrics not JSON": {"metrics": "{"},
    "metrics not an object": {"metrics": "[1]"},
    "metrics NaN": {"metrics": '{"x": NaN}'},
    "metrics infinite": {"metrics": '{"x": 1e999}'},
    "metrics beyond float": {"metrics": '{"x": 1' + "0" * 400 + "}"},
    "metrics bool": {"metrics": '{"x": true}'},
    "metrics null": {"metrics": '{"x": null}'},
    "metrics nested": {"metrics": '{"x": {"y": 1}}'},
    "metrics nested deep": {"metrics": "[" * 16_000},
    "metrics too long": {"metrics": json.dumps({"x" * 20_000: 1})},
    "metric too large": {"metrics": '{"x": 1e31}'},
    "metric too small": {"metrics": '{"x": -1e308}'},
    "metric half a character": {"metrics": '{"\\ud800": 1}'},
    "metric with a space": {"metrics": '{"train loss": 1}'},
    "metric without a name": {"metrics": '{"": 1}'},
    "metric with a long name": {"metrics": json.dumps({"x" * 41: 1})},
    "metrics too many": {"metrics": json.dumps({str(number): 1 for number in range(65)})},
    "weights as text": {"weights": "abc"},
    "weights empty": {"weights": b""},
    "chunks announced but absent": {"chunks": 1},
    "chunks negative": {"chunks": -1},
    "a key too many": {"extra": 1},
}


@pytest.mark.parametrize("changes", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_malformed_header_is_refused(changes):
    with pytest.raises(PackingError):
        read_reply(reply_content(model(), **changes))


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"fit": ArrayRecord()}),
        RecordDict({"fit": ConfigRecord({"format": 1})}),
        RecordDict({**reply_content(model()), "stowaway": ConfigRecord({"weights": b"x"})}),
        RecordDict({**reply_content(model(), chunks=1), "chunk-002": ConfigRecord({"weights": b"x"})}),
        RecordDict({**reply_content(model(), chunks=1), "chunk-001": record(model())}),
        RecordDict({**reply_content(model(), chunks=1), "chunk-001": ConfigRecord({"weights": 1})}),
    ],
    ids=["empty", "wrong record", "keys missing", "stowaway", "wrong number", "wrong type", "no bytes"],
)
def test_content_of_another_shape_is_refused(content):
    with pytest.raises(PackingError):
        read_reply(content)


def test_a_reply_larger_than_allowed_is_refused_before_it_is_joined():
    with pytest.raises(PackingError, match="at most 100"):
        read_reply(reply_content(model()), max_bytes=100)
