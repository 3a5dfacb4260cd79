"""FedProx: FedAvg with a proximal term in every device's loss.

Li et al., "Federated Optimization in Heterogeneous Networks", https://arxiv.org/abs/1812.06127, equation 2:

    h_k(w) = F_k(w) + (mu / 2) · ‖w - w_t‖²

The norm is squared and runs over all trainable parameters; w_t is the model that the round started from.
The server averages as FedAvg does and only tells the devices mu, as "proximal-mu". Valid: mu >= 0; the
paper searches 0.001 to 1. mu = 0 is FedAvg.
"""

from flwr.serverapp.strategy import FedProx, Strategy

from strategies.fedavg import WHOLE_PLAN
from strategies.options import FedProxOptions


def build(options: FedProxOptions) -> Strategy:
    return FedProx(**WHOLE_PLAN, proximal_mu=options.mu)
