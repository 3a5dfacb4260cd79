"""A ServerApp's calls outlive an engine that dies and comes back, and end with a reason when it does not."""

import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity

from fl_server.flower import engine, grid
from fl_server.flower.grid import EngineLost, QuickGrid
from strategies.link import Stopped

LOST = ObjectPushError("object", 1, "session")


@pytest.fixture(autouse=True)
def _in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    monkeypatch.setattr(grid, "TRY_EVERY", 0.001)


class Engine:
    """Stands for Flower's grid: fails with what it is given, in turn, then takes everything."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.pushed: list[list[Message]] = []
        self._retry_invoker = make_simple_http_retry_invoker()

    def push_messages(self, messages: list[Message]) -> list[str]:
        self.pushed.append(messages)
        if self.errors:
            raise self.errors.pop(0)
        return [message.object_id for message in messages]


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://engine")
    return httpx.HTTPStatusError("refused", request=request, response=httpx.Response(status, request=request))


def message(node: int = 7) -> Message:
    return Message(
        RecordDict({"fit": ConfigRecord({"weights": b"abc"})}), node, "train", group_id="3", ttl=60
    )


def push(inner: Engine, stop: threading.Event | None = None, **options: Any) -> list[str]:
    return list(QuickGrid(inner, stop or threading.Event(), **options).push_messages([message(), message(8)]))


@pytest.mark.parametrize("error", [LOST, httpx.RemoteProtocolError("cut off"), answered(500)])
def test_a_push_that_the_engines_death_broke_off_is_repeated_with_new_messages(error: Exception) -> None:
    inner = Engine(error, error)
    ids = push(inner)
    assert len(inner.pushed) == 3
    assert ids == [each.object_id for each in inner.pushed[-1]]
    assert len({each.object_id for attempt in inner.pushed for each in attempt}) == 6
    about = [each.metadata for each in inner.pushed[-1]]
    assert [(a.dst_node_id, a.group_id, a.ttl) for a in about] == [(7, "3", 60.0), (8, "3", 60.0)]
    assert inner.pushed[-1][0].content["fit"]["weights"] == b"abc"


def test_an_engine_that_stays_away_loses_the_run() -> None:
    moments = iter(range(0, 1000, 25))
    with pytest.raises(EngineLost, match="did not answer for 60 s"):
        push(Engine(*[LOST] * 10), clock=lambda: float(next(moments)))


def test_a_run_that_the_engine_has_ended_is_lost_at_once() -> None:
    inner = Engine(RunNotRunningException())
    with pytest.raises(EngineLost, match="has ended the run"):
        push(inner)
    assert len(inner.pushed) == 1


def test_a_refusal_is_not_repeated() -> None:
    inner = Engine(answered(400))
    with pytest.raises(httpx.HTTPStatusError):
        push(inner)
    assert len(inner.pushed) == 1


def test_a_run_that_is_stopped_waits_for_no_engine() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        push(Engine(LOST), stop)


def test_a_single_request_is_bounded_too_and_does_not_wait_longer_and_longer() -> None:
    inner = Engine()
    QuickGrid(inner, threading.Event())
    waits = inner._retry_invoker.wait_gen_factory()
    assert inner._retry_invoker.max_time == grid.PATIENCE
    assert len({next(waits) for _ in range(5)}) == 1


def test_a_reply_that_breaks_off_while_it_is_read_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine shows a reply once, so asking for it again would wait for nothing."""

    def broken(*_: Any) -> Any:
        raise httpx.ReadError("cut off")

    head = SimpleNamespace(metadata=message().metadata)
    answer = SimpleNamespace(messages_list=[head], message_object_trees=[None])
    client = SimpleNamespace(PullMessages=lambda _: answer, PullObject=None)
    inner = Engine()
    inner._runtime_client, inner.node, inner.run = client, None, SimpleNamespace(run_id=1)  # type: ignore[attr-defined]
    monkeypatch.setattr(engine, "message_from_proto", lambda each: each)
    monkeypatch.setattr(engine, "_content", broken)
    (reply,) = QuickGrid(inner, threading.Event()).pull_messages(["m"])
    assert reply.has_error()
