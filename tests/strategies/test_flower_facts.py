"""What this package relies on beyond Flower's public surface; an upgrade that changes it fails here."""

import inspect

import numpy as np
import pytest
from flwr.app import ConfigRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy.fedopt import FedOpt

from .world import floats, record


class OnlyNodeIds:
    def get_node_ids(self):
        return [1, 2]


@pytest.mark.parametrize("name", ["FedAdam", "FedYogi", "FedAdagrad"])
def test_adaptive_strategies_keep_their_state_in_m_t_and_v_t(name):
    strategy = getattr(flower, name)()
    assert isinstance(strategy, FedOpt)
    assert (strategy.m_t, strategy.v_t) == (None, None)


def test_fedavgm_keeps_its_model_and_a_momentum_without_names():
    strategy = flower.FedAvgM(server_momentum=0.9)
    assert (strategy.current_arrays, strategy.momentum_vector) == (None, None)


def test_a_strategy_asks_a_grid_only_for_its_node_ids_and_writes_into_the_config_it_gets():
    config = ConfigRecord()
    strategy = flower.FedProx(proximal_mu=0.5)
    messages = list(strategy.configure_train(3, record(floats()), config, OnlyNodeIds()))
    assert sorted(message.metadata.dst_node_id for message in messages) == [1, 2]
    assert dict(config) == {"proximal-mu": 0.5, "server-round": 3}


def test_start_takes_replies_as_an_iterable_and_evaluates_last():
    source = inspect.getsource(flower.Strategy.start)
    steps = [
        "self.configure_train(",
        "self.aggregate_train(",
        "self.configure_evaluate(",
        "evaluate_fn(current",
    ]
    places = [source.index(step) for step in steps]
    assert places == sorted(places)
    assert "list(train_replies" not in source


def test_an_array_survives_flowers_record_with_its_dtype_and_shape():
    for array in (np.array(1.5, dtype=np.float16), np.zeros((0, 3), dtype=np.int64), np.array(True)):
        back = record({"x": array})["x"].numpy()
        assert (back.dtype, back.shape, back.tolist()) == (array.dtype, array.shape, array.tolist())
