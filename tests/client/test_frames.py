import asyncio
import io
import json
import struct

import pytest

from fl_client import frames
from fl_client.errors import FrameError


def written(*parts):
    stream = io.BytesIO()
    for header, payload in parts:
        frames.write(stream, header, payload)
    stream.seek(0)
    return stream


def test_frames_come_back_in_order_with_their_payloads():
    stream = written(({"type": "train", "round": 3}, b"\0\1\2"), ({"type": "cancel", "round": 3}, b""))
    first, second = frames.read(stream), frames.read(stream)
    assert (first.type, first.header["round"], first.payload) == ("train", 3, b"\0\1\2")
    assert (second.type, second.payload) == ("cancel", b"")
    assert frames.read(stream) is None


def test_an_asyncio_stream_reads_the_same_frames():
    async def all_frames():
        reader = asyncio.StreamReader()
        reader.feed_data(written(({"type": "result"}, b"w" * 100_000)).getvalue())
        reader.feed_eof()
        return await frames.read_async(reader), await frames.read_async(reader)

    frame, end = asyncio.run(all_frames())
    assert frame.type == "result"
    assert len(frame.payload) == 100_000
    assert end is None


@pytest.mark.parametrize("cut", [2, 10, -1])
def test_a_pipe_that_ends_inside_a_frame_is_an_error_both_ways(cut):
    content = written(({"type": "train"}, b"weights")).getvalue()[:cut]

    async def read():
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        reader.feed_eof()
        await frames.read_async(reader)

    with pytest.raises(FrameError):
        frames.read(io.BytesIO(content))
    with pytest.raises(FrameError):
        asyncio.run(read())


def framed(text):
    return io.BytesIO(struct.pack(">I", len(text)) + text)


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[]",
        b"{}",
        json.dumps({"type": "train", "payload": -1}).encode(),
        json.dumps({"type": "train", "payload": True}).encode(),
        json.dumps({"type": "train", "payload": 1 << 60}).encode(),
    ],
)
def test_a_header_that_makes_no_sense_is_an_error(header):
    with pytest.raises(FrameError):
        frames.read(framed(header))


def test_a_length_that_no_header_has_is_an_error_before_anything_is_read():
    with pytest.raises(FrameError, match="more than"):
        frames.read(io.BytesIO(b"\xff\xff\xff\xff"))


def test_a_number_that_json_does_not_know_is_never_written():
    with pytest.raises(ValueError, match="JSON"):
        frames.head({"type": "result", "metrics": {"train-loss": float("nan")}})
