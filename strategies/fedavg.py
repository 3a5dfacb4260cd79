"""FedAvg: federated averaging.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
https://arxiv.org/abs/1602.05629, algorithm 1:

    w_{t+1} = sum_k (n_k / n) · w_k,        n = sum_k n_k

w_k is device k's model after its local epochs, n_k >= 1 the rows it trained on. With one device the new
model is that device's; with equal n_k it is the plain mean.
"""

from typing import Any

from flwr.serverapp.strategy import FedAvg, Strategy

from strategies.options import FedAvgOptions

# The round's plan has already chosen the devices, and their evaluation travels with the train reply.
WHOLE_PLAN: dict[str, Any] = {
    "fraction_train": 1.0,
    "fraction_evaluate": 0.0,
    "min_train_nodes": 1,
    "min_evaluate_nodes": 1,
    "min_available_nodes": 1,
    "weighted_by_key": "num-examples",
}


def build(options: FedAvgOptions) -> Strategy:
    return FedAvg(**WHOLE_PLAN)
