"""A device's reply read out of the engine, with as few requests as it needs, whatever the device sent."""

import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.task_identity import TaskIdentity

from fl_server.flower import engine

HEADER = ConfigRecord({"format": 1, "weights": b"abc"})


@pytest.fixture(autouse=True)
def in_a_run(monkeypatch):
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def read(content, spoil=lambda stored: stored):
    message = Message(RecordDict(content), 7, "train")
    message.metadata.__dict__["_message_id"] = message.object_id
    stored = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
    asked = []

    def pull(object_id):
        asked.append(object_id)
        return spoil(stored)[object_id]

    return engine._content(get_object_tree(message), pull), asked


def test_a_lone_record_is_all_that_is_asked_for():
    content, asked = read({"fit": HEADER})
    assert dict(content) == {"fit": HEADER}
    assert len(asked) == 1


def test_of_several_records_everything_is_asked_for():
    sent = {"fit": HEADER, "chunk-001": ConfigRecord({"weights": b"def"})}
    content, asked = read(sent)
    assert dict(content) == sent
    assert len(asked) == 4


@pytest.mark.parametrize(
    "sent",
    [
        {"fit": MetricRecord({"a": 1.0})},
        {"fit": MetricRecord({"a": 1.0}), "chunk-001": HEADER},
        {},
    ],
)
def test_another_kind_of_record_never_raises(sent):
    content, _ = read(sent)
    assert "fit" not in content or isinstance(content["fit"], MetricRecord)


def test_bytes_that_are_no_object_come_out_as_an_empty_content():
    content, _ = read({"fit": HEADER}, lambda stored: dict.fromkeys(stored, b"nonsense"))
    assert dict(content) == {}
