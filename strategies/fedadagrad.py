"""FedAdagrad: Adagrad on the server, with the devices' averaged update in place of the gradient.

Reddi et al., "Adaptive Federated Optimization", https://arxiv.org/abs/2003.00295, algorithm 2. With a_t the
weighted mean of the devices' models, everything elementwise:

    d_t = a_t - w_t
    v_t = v_{t-1} + d_t²
    w_{t+1} = w_t + eta · d_t / (sqrt(v_t) + tau)

eta > 0, tau > 0; v starts at zero and only grows. With a tau far above the updates, a step is eta/tau · d_t,
so eta = tau is close to FedAvg.
"""

from flwr.serverapp.strategy import FedAdagrad, Strategy

from strategies.fedavg import WHOLE_PLAN
from strategies.options import FedAdagradOptions


def build(options: FedAdagradOptions) -> Strategy:
    return FedAdagrad(**WHOLE_PLAN, eta=options.eta, tau=options.tau)
