"""The numbers that come out of the rounds of every strategy."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from strategies import catalog
from strategies.exceptions import Diverged

from .world import (
    NODES,
    OPTIONS,
    Grid,
    answers,
    federated,
    floats,
    model,
    numpy_of,
    record,
    reply_content,
    start,
)


def flowers_own(strategy, arrays, rounds):
    """The stock strategy on plain replies: rounds is a list of {node: arrays}."""
    current = record(arrays)
    for number, replies in enumerate(rounds, start=1):
        strategy.configure_train(number, current, ConfigRecord(), Grid(NODES, None))
        messages = []
        for node_id, answer in replies.items():
            metrics = MetricRecord({"num-examples": node_id})
            content = RecordDict({"arrays": record(answer), "metrics": metrics})
            messages.append(Message(content, node_id, "train"))
        result, _ = strategy.aggregate_train(number, messages)
        current = ArrayRecord({name: Array(array.numpy()) for name, array in result.items()})
    return numpy_of(current)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_strategy_gives_the_model_that_flowers_own_gives(name):
    rounds = [{node: floats(10 * number + node) for node in NODES} for number in range(1, 4)]

    def train(node_id, header, content):
        return reply_content(rounds[header["round"] - 1][node_id], examples=node_id, round=header["round"])

    ours = start(federated(catalog.build(name, OPTIONS[name])), Grid(NODES, train), floats(), rounds=3)
    theirs = flowers_own(catalog.build(name, OPTIONS[name]), floats(), rounds)
    assert ours.keys() == theirs.keys()
    for tensor in ours:
        assert ours[tensor].dtype == np.float32
        np.testing.assert_allclose(ours[tensor], theirs[tensor], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [("fedprox", {"mu": 0}), ("fedavgm", {"server_momentum": 0, "server_learning_rate": 1})],
)
def test_the_degenerate_case_is_fedavg_to_the_bit(name, options):
    train = answers({node: model(node) for node in NODES})
    ours = start(federated(catalog.build(name, options)), Grid(NODES, train), model())
    plain = start(federated(), Grid(NODES, train), model())
    assert len(plain) == 4
    for tensor, array in plain.items():
        np.testing.assert_array_equal(ours[tensor], array)


@pytest.mark.parametrize("name", OPTIONS)
def test_names_order_shapes_and_dtypes_of_a_mixed_model_survive_every_strategy(name):
    train = answers({node: model(node) for node in NODES})
    result = start(federated(catalog.build(name, OPTIONS[name])), Grid(NODES, train), model(), rounds=2)
    assert list(result) == list(model())
    assert {tensor: (a.dtype, a.shape) for tensor, a in result.items()} == {
        tensor: (a.dtype, a.shape) for tensor, a in model().items()
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_a_counter_takes_the_plain_mean_under_every_strategy(name):
    train = answers({node: model(node) for node in NODES})
    result = start(federated(catalog.build(name, OPTIONS[name])), Grid(NODES, train), model())
    counters = [int(model(node)["norm.batches"]) * node for node in NODES]
    assert result["norm.batches"] == round(sum(counters) / sum(NODES))


def test_a_model_without_floating_tensors_passes_through():
    counters = {"n": np.arange(3)}
    train = answers(dict.fromkeys(NODES, counters))
    for name in OPTIONS:
        result = start(federated(catalog.build(name, OPTIONS[name])), Grid(NODES, train), counters)
        assert result["n"].tolist() == [0, 1, 2]


def test_a_step_that_overflows_the_models_dtype_is_divergence():
    start_from = {"h": np.full(3, 60_000, dtype=np.float16)}
    trained = {"h": np.full(3, -60_000, dtype=np.float16)}
    strategy = federated(catalog.build("fedavgm", {"server_learning_rate": 5.0}))
    with pytest.raises(Diverged, match=r"round 1.*'h'"):
        start(strategy, Grid(NODES, answers(dict.fromkeys(NODES, trained))), start_from)
