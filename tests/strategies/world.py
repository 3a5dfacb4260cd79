"""A small federation: a mixed model, devices that answer, a grid that carries their answers, a strategy."""

import json

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from strategies import catalog
from strategies.document import pack
from strategies.federated import FederatedStrategy
from strategies.packing import Reply, instruction

RUN, FENCE = 12, 7
NODES = [11, 12, 13, 14]
OPTIONS = {
    "fedavg": {},
    "fedprox": {"mu": 0.1},
    "fedavgm": {"server_momentum": 0.9, "server_learning_rate": 0.7},
    "fedadam": {},
    "fedyogi": {},
    "fedadagrad": {},
}


def model(seed=0, scale=1.0):
    """float32, float16, a 0-d float and an int64 counter, as a BatchNorm network has them."""
    draw = np.random.default_rng(seed)
    return {
        "zeta.weight": (scale * draw.standard_normal((4, 3))).astype(np.float32),
        "alpha.half": (scale * draw.standard_normal(5)).astype(np.float16),
        "norm.scale": np.array(scale * draw.standard_normal(), dtype=np.float32),
        "norm.batches": np.array(draw.integers(0, 1000), dtype=np.int64),
    }


def floats(seed=0, scale=1.0):
    draw = np.random.default_rng(seed)
    return {name: (scale * draw.standard_normal(6)).astype(np.float32) for name in ("a", "b")}


def record(arrays):
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def numpy_of(arrays):
    return {name: array.numpy() for name, array in arrays.items()}


def reply_content(arrays, *, examples=10, metrics=None, run=RUN, round=1, fence=FENCE, **changes):
    content = instruction(pack(arrays), run=run, round=round, fence=fence, config={})
    header = dict(content["fit"])
    del header["config"]
    header |= {"examples": examples, "metrics": json.dumps(metrics or {})} | changes
    return RecordDict({**content, "fit": ConfigRecord(header)})


def reply(arrays, *, examples=10, run=RUN, round=1, fence=FENCE):
    return Reply(run, round, fence, examples, {}, arrays, 0)


class Grid:
    """Answers each message with what train(node id, header, content) returns: a content or an Error."""

    def __init__(self, node_ids, train):
        self.node_ids = node_ids
        self.train = train
        self.sent = []
        self.alive = 0

    def get_node_ids(self):
        return self.node_ids

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        self.sent += messages
        for message in messages:
            answer = self.train(message.metadata.dst_node_id, message.content["fit"], message.content)
            if answer is not None:
                yield Message(answer, reply_to=message)


def failure(reason="out of memory"):
    return Error(code=3, reason=reason)


def federated(inner=None, **changes):
    settings = {
        "run": RUN,
        "fence": FENCE,
        "max_examples": dict.fromkeys(NODES, 1000),
        "plan": lambda round, grid: list(grid.get_node_ids()),
    }
    return FederatedStrategy(inner or catalog.build("fedavg", {}), **settings | changes)


def answers(by_node, **changes):
    """Each node answers with its own arrays, weighing as many examples as its number."""

    def train(node_id, header, content):
        answer = by_node[node_id]
        if not isinstance(answer, dict):
            return answer
        return reply_content(answer, examples=node_id, round=header["round"], **changes)

    return train


def start(strategy, grid, arrays, rounds=1, **settings):
    return numpy_of(strategy.start(grid, record(arrays), num_rounds=rounds, **settings).arrays)
