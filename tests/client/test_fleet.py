"""The node link against an engine that lives in the HTTP transport."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.message_pb2 import PushObjectResponse
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature

from fl_client import fleet
from fl_client.fleet import FleetError
from tests.client.fleet_engine import NODE, Engine, breaking, engine, foreign, link_to, refusing

__all__ = ["engine"]


def instruction() -> RecordDict:
    return RecordDict(
        {"fit": ConfigRecord({"weights": b"x" * 1000}), "chunk-001": ConfigRecord({"weights": b"y" * 1000})}
    )


def test_a_known_node_comes_online_with_one_heartbeat(engine):
    with link_to(engine):
        assert engine.names() == ["send-node-heartbeat"]
    assert engine.names() == ["send-node-heartbeat", "deactivate-node"]


def test_a_node_that_never_was_online_is_activated(engine):
    engine.known = False
    with link_to(engine):
        assert engine.names() == ["send-node-heartbeat", "activate-node"]


def test_a_link_left_with_an_error_stays_online_for_what_it_will_come_back_for(engine):
    with pytest.raises(FleetError), link_to(engine):
        raise FleetError("pull: reset", retry=True)
    assert "deactivate-node" not in engine.names()


def test_an_engine_that_is_away_at_the_end_does_no_harm(engine):
    engine.faults["deactivate-node"] = [breaking]
    with link_to(engine):
        pass


def test_a_link_that_cannot_be_opened_leaves_nothing_open(engine):
    engine.faults["send-node-heartbeat"] = [refusing(503)]
    link = link_to(engine)
    with pytest.raises(FleetError):
        link.__enter__()
    assert link._client._client.is_closed


def test_heartbeats_go_on_while_the_link_is_open_and_a_failed_one_is_survived(engine, monkeypatch):
    monkeypatch.setattr(fleet, "HEARTBEAT_EVERY", 0.01)
    with link_to(engine) as link:
        engine.faults["send-node-heartbeat"] = [breaking, refusing(500)]
        while engine.names().count("send-node-heartbeat") < 5:
            link._done.wait(0.01)
    link._beats.join(2)
    assert not link._beats.is_alive()


def test_every_request_is_signed_with_the_servers_time(engine):
    with link_to(engine, clock_offset=lambda: -3600.0) as link:
        link.pull()
    assert len(engine.requests) == 3
    for request in engine.requests:
        stamp = request.headers["flwr-timestamp"]
        off = datetime.fromisoformat(stamp) - datetime.now(UTC) + timedelta(hours=1)
        assert abs(off) < timedelta(seconds=10)
        signature = b64decode(request.headers["flwr-signature"])
        assert verify_signature(link_key(request), stamp.encode(), signature)


def link_key(request: httpx.Request) -> ec.EllipticCurvePublicKey:
    return bytes_to_public_key(b64decode(request.headers["flwr-public-key"]))


def test_no_message_is_none(engine):
    with link_to(engine) as link:
        assert link.pull() is None


def test_a_message_comes_whole_and_is_confirmed(engine):
    sent = engine.send(instruction())
    with link_to(engine) as link:
        message = link.pull()
        assert link.pull() is None
        assert message is not None
        assert engine.confirmed == []
        link.confirm(message)
    assert message.metadata.message_id == sent.metadata.message_id
    assert message.metadata.group_id == "3"
    assert message.content["chunk-001"]["weights"] == b"y" * 1000
    assert engine.confirmed == [sent.metadata.message_id]


def test_objects_that_arrive_after_their_message_are_waited_for_briefly(engine):
    engine.send(instruction())
    engine.slow = dict.fromkeys(engine.objects, 2)
    with link_to(engine) as link:
        began = datetime.now(UTC)
        assert link.pull() is not None
    assert datetime.now(UTC) - began < timedelta(seconds=1)


def test_a_message_whose_objects_are_gone_is_an_error_that_may_pass(engine):
    engine.send(instruction())
    engine.objects.clear()
    with link_to(engine) as link, pytest.raises(FleetError) as caught:
        link.pull()
    assert caught.value.retry


@pytest.mark.parametrize(
    ("fault", "retry"),
    [
        (refusing(401), False),
        (refusing(403), False),
        (refusing(404), False),
        (refusing(412), True),
        (refusing(429), True),
        (refusing(503), True),
        (breaking, True),
        (foreign, True),
    ],
)
def test_every_failure_says_whether_trying_again_can_help(engine, fault, retry):
    with link_to(engine) as link:
        engine.faults["pull-messages"] = [fault]
        with pytest.raises(FleetError, match="pull: ") as caught:
            link.pull()
    assert caught.value.retry is retry


def answered(engine: Engine) -> tuple[Message, RecordDict]:
    return engine.send(instruction()), RecordDict({"fit": ConfigRecord({"weights": b"trained"})})


def test_a_reply_arrives_with_all_its_objects(engine):
    sent, content = answered(engine)
    with link_to(engine) as link:
        message = link.pull()
        assert message is not None
        link.reply(message, content, 1.5)
    reply = engine.replies[sent.metadata.message_id]
    assert reply.metadata.src_node_id == NODE
    assert reply.metadata.message_id in engine.stored
    assert len(engine.stored) == 3


@pytest.mark.parametrize("where", ["push-messages", "push-object"])
def test_a_reply_that_broke_off_is_completed_over_the_next_link(engine, where):
    sent, content = answered(engine)
    with link_to(engine) as link:
        message = link.pull()
        engine.faults[where] = [breaking]
        with pytest.raises(FleetError):
            link.reply(message, content, 1.0)
    with link_to(engine) as link:
        link.reply(message, content, 1.0)
    assert len(engine.replies) == 1
    assert engine.replies[sent.metadata.message_id].metadata.message_id in engine.stored
    assert len(engine.stored) == 3


def test_a_device_whose_clock_is_off_gives_its_reply_the_life_of_the_message(engine, monkeypatch):
    sent, content = answered(engine)
    monkeypatch.setattr("flwr.app.message.message.now", lambda: datetime(2031, 1, 1, tzinfo=UTC))
    with link_to(engine) as link:
        message = link.pull()
        assert message is not None
        link.reply(message, content, 1.0)
    reply = engine.replies[sent.metadata.message_id].metadata
    assert (reply.created_at, reply.ttl) == (sent.metadata.created_at, sent.metadata.ttl)


def test_an_object_that_the_engine_will_not_store_is_an_error_that_may_pass(engine):
    _, content = answered(engine)
    with link_to(engine) as link:
        message = link.pull()
        engine.push_object = lambda body: PushObjectResponse(stored=False)  # type: ignore[method-assign]
        with pytest.raises(FleetError) as caught:
            link.reply(message, content, 1.0)  # type: ignore[arg-type]
    assert caught.value.retry
