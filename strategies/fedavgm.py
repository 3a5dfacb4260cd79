"""FedAvgM: FedAvg with momentum on the server.

Hsu et al., "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification",
https://arxiv.org/abs/1909.06335, section 4.3. With a_t the weighted mean of the devices' models:

    d_t = w_t - a_t
    v_t = beta · v_{t-1} + d_t,        v_1 = d_1
    w_{t+1} = w_t - eta · v_t

eta is server_learning_rate (> 0), beta is server_momentum (0 <= beta < 1). The vector v is state of the
server and belongs into a checkpoint. eta = 1 with beta = 0 is FedAvg.
"""

from flwr.serverapp.strategy import FedAvgM, Strategy

from strategies.fedavg import WHOLE_PLAN
from strategies.options import FedAvgMOptions


def build(options: FedAvgMOptions) -> Strategy:
    return FedAvgM(
        **WHOLE_PLAN,
        server_learning_rate=options.server_learning_rate,
        server_momentum=options.server_momentum,
    )
