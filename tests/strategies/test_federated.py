"""Who is asked, whose reply counts, and what is reported of a round."""

import gc
import json
import weakref

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message

from strategies import catalog
from strategies.aggregation import MAX_TOTAL_WEIGHT
from strategies.document import unpack
from strategies.exceptions import StrategyError, TooFewReplies
from strategies.federated import ReplyOutcome

from .world import FENCE, NODES, RUN, Grid, answers, failure, federated, model, record, reply_content, start


def test_all_devices_of_a_round_get_one_shared_instruction():
    grid = Grid(NODES, answers({node: model(node) for node in NODES}))
    start(federated(first_round=5, ttl=90.0), grid, model())
    assert [message.metadata.dst_node_id for message in grid.sent] == NODES
    assert len({id(message.content) for message in grid.sent}) == 1
    assert {message.metadata.group_id for message in grid.sent} == {"5"}
    assert {message.metadata.message_type for message in grid.sent} == {"train"}
    assert {message.metadata.ttl for message in grid.sent} == {90.0}
    header = grid.sent[0].content["fit"]
    assert (header["run"], header["round"], header["fence"]) == (RUN, 5, FENCE)
    assert unpack(header["weights"])["zeta.weight"].tolist() == model()["zeta.weight"].tolist()


def test_the_inner_strategys_settings_reach_the_devices_and_the_callers_config_stays_as_it_was():
    grid = Grid(NODES, answers({node: model(node) for node in NODES}))
    config = ConfigRecord({"clip": 1.5})
    start(federated(catalog.build("fedprox", {"mu": 0.25})), grid, model(), rounds=2, train_config=config)
    assert len(grid.sent) == 8
    for message in grid.sent:
        assert json.loads(message.content["fit"]["config"]) == {"clip": 1.5, "proximal-mu": 0.25}
    assert dict(config) == {"clip": 1.5}


def test_the_plan_decides_who_trains():
    asked = []

    def plan(number, grid):
        asked.append(number)
        return [12, 14, 12] if number == 1 else [13]

    grid = Grid(NODES, answers({node: model(node) for node in NODES}))
    start(federated(plan=plan), grid, model(), rounds=2)
    assert asked == [1, 2]
    assert [message.metadata.dst_node_id for message in grid.sent] == [12, 14, 13]


def test_every_reply_is_reported_and_a_bad_one_stays_out_of_the_model():
    poisoned = model(12)
    poisoned["zeta.weight"][0, 0] = np.nan
    short = model(13) | {"alpha.half": np.zeros(1, dtype=np.float16)}
    outcomes: list[ReplyOutcome] = []
    good = {11: model(11), 14: model(14)}
    grid = Grid(NODES, answers(good | {12: poisoned, 13: short}, metrics={"train-loss": 0.5}))
    result = start(federated(on_reply=outcomes.append, clock=iter(range(100)).__next__), grid, model())

    assert [(o.node_id, o.accepted, o.code) for o in outcomes] == [
        (11, True, None),
        (12, False, "non-finite"),
        (13, False, "shape"),
        (14, True, None),
    ]
    assert [o.seconds for o in outcomes] == [1, 2, 3, 4]
    assert outcomes[0].examples == 11
    assert outcomes[0].metrics == {"train-loss": 0.5}
    assert outcomes[0].nbytes > 0
    assert "'alpha.half' has shape (1,)" in outcomes[2].message
    alone = start(federated(plan=lambda round, grid: [11, 14]), Grid(NODES, answers(good)), model())
    for tensor, array in alone.items():
        np.testing.assert_array_equal(result[tensor], array)


def test_a_devices_error_is_reported_in_its_own_words():
    outcomes = []
    grid = Grid(NODES, answers(dict.fromkeys(NODES, model()) | {12: failure("no data here")}))
    start(federated(on_reply=outcomes.append), grid, model())
    assert [(o.node_id, o.code, o.message) for o in outcomes if not o.accepted] == [
        (12, "client-error", "error 3: no data here")
    ]


@pytest.mark.parametrize("limits", [dict.fromkeys(NODES, 12), lambda node: 12])
def test_a_device_cannot_weigh_more_than_its_rows(limits):
    outcomes = []
    grid = Grid(NODES, answers(dict.fromkeys(NODES, model())))
    start(federated(on_reply=outcomes.append, max_examples=limits), grid, model())
    assert [o.code for o in outcomes] == [None, None, "weight", "weight"]


def test_a_limit_beyond_all_bounds_does_not_let_one_device_break_the_round():
    def train(node_id, header, content):
        return reply_content(model(), examples=MAX_TOTAL_WEIGHT if node_id == 13 else 5)

    outcomes = []
    start(federated(on_reply=outcomes.append, max_examples=lambda node: 10**18), Grid(NODES, train), model())
    assert [o.code for o in outcomes] == [None, None, "weight", None]


def test_a_late_answer_from_another_round_or_lease_is_stale():
    def train(node_id, header, content):
        fence = FENCE - 1 if node_id == 11 else FENCE
        number = header["round"] - 1 if node_id == 12 else header["round"]
        return reply_content(model(), fence=fence, round=number)

    outcomes = []
    start(federated(on_reply=outcomes.append, first_round=3), Grid(NODES, train), model())
    assert [o.code for o in outcomes] == ["stale", "stale", None, None]


def test_a_second_answer_and_an_uninvited_one_are_not_counted():
    strategy_outcomes = []
    strategy = federated(on_reply=strategy_outcomes.append, plan=lambda round, grid: [11, 12])
    [first, second] = strategy.configure_train(1, record(model()), ConfigRecord(), Grid(NODES, None))
    stranger = Message(first.content, 99, "train")
    contents = [reply_content(model(seed), examples=5) for seed in range(4)]
    replies = [
        Message(contents[0], reply_to=first),
        Message(contents[1], reply_to=first),
        Message(contents[2], reply_to=stranger),
        Message(contents[3], reply_to=second),
    ]
    strategy.aggregate_train(1, replies)
    assert [o.code for o in strategy_outcomes] == [None, "duplicate", "unplanned", None]


def test_a_device_that_failed_once_may_still_answer():
    outcomes = []
    strategy = federated(on_reply=outcomes.append, plan=lambda round, grid: [11])
    [message] = strategy.configure_train(1, record(model()), ConfigRecord(), Grid(NODES, None))
    strategy.aggregate_train(
        1, [Message(failure(), reply_to=message), Message(reply_content(model()), reply_to=message)]
    )
    assert [o.code for o in outcomes] == ["client-error", None]


def test_a_round_below_its_quorum_stops_the_run():
    grid = Grid(NODES, answers(dict.fromkeys(NODES, model()) | {12: failure(), 13: None}))
    with pytest.raises(TooFewReplies, match="Round 1 needs the work of 3 devices and got that of 2"):
        start(federated(quorum=3), grid, model())


@pytest.mark.parametrize("planned", [[], [11]])
def test_a_plan_below_the_quorum_stops_the_run_before_anything_is_sent(planned):
    grid = Grid(NODES, answers({}))
    with pytest.raises(TooFewReplies):
        start(federated(quorum=2, plan=lambda round, grid: planned), grid, model())
    assert grid.sent == []


def test_a_finished_round_is_reported_with_its_model():
    rounds = []
    grid = Grid(NODES, answers({node: model(node) for node in NODES} | {12: failure()}, metrics={"x": 2}))
    strategy = federated(on_round=rounds.append, first_round=4, clock=iter(range(100)).__next__)
    result = start(strategy, grid, model(), rounds=2)
    assert [(r.round, r.accepted, r.rejected, r.examples) for r in rounds] == [(4, 3, 1, 38), (5, 3, 1, 38)]
    assert rounds[0].metrics == {"x": 2.0}
    assert rounds[0].seconds == 5
    for tensor, array in result.items():
        np.testing.assert_array_equal(rounds[-1].arrays[tensor], array)


def test_metrics_reach_flowers_own_history():
    grid = Grid(NODES, answers(dict.fromkeys(NODES, model()), metrics={"train-loss": 0.5}))
    result = federated().start(grid, record(model()), num_rounds=1)
    assert result.train_metrics_clientapp[1]["train-loss"] == pytest.approx(0.5)
    assert result.evaluate_metrics_clientapp == {}


def test_a_round_that_was_never_configured_is_an_error():
    with pytest.raises(StrategyError, match="round 1 was not configured"):
        federated().aggregate_train(1, [])


def test_replies_are_folded_as_they_arrive_and_none_is_kept():
    alive = []
    most = 0

    def train(node_id, header, content):
        nonlocal most
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
        answer = reply_content(model(node_id), examples=1)
        alive.append(weakref.ref(answer))
        return answer

    class Streaming(Grid):
        def send_and_receive(self, messages, *, timeout=None):
            for message in messages:
                yield Message(self.train(message.metadata.dst_node_id, None, None), reply_to=message)

    nodes = list(range(1, 9))
    start(federated(max_examples=lambda node: 10), Streaming(nodes, train), model())
    assert len(alive) == 8
    assert most == 0


def test_an_exception_from_the_grid_reaches_the_caller():
    def train(node_id, header, content):
        raise TimeoutError("the engine is gone")

    with pytest.raises(TimeoutError):
        start(federated(), Grid(NODES, train), model())
