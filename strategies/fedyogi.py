"""FedYogi: Yogi on the server, with the devices' averaged update in place of the gradient.

Reddi et al., "Adaptive Federated Optimization", https://arxiv.org/abs/2003.00295, algorithm 2. With a_t the
weighted mean of the devices' models, everything elementwise:

    d_t = a_t - w_t
    m_t = beta_1 · m_{t-1} + (1 - beta_1) · d_t
    v_t = v_{t-1} - (1 - beta_2) · d_t² · sign(v_{t-1} - d_t²)
    w_{t+1} = w_t + eta · m_t / (sqrt(v_t) + tau)

eta > 0, 0 <= beta_1, beta_2 < 1, tau > 0; m and v start at zero, so the first v equals FedAdam's. With
beta_1 = 0 and a tau far above the updates, a step is eta/tau · d_t.
"""

from flwr.serverapp.strategy import FedYogi, Strategy

from strategies.fedavg import WHOLE_PLAN
from strategies.options import FedYogiOptions


def build(options: FedYogiOptions) -> Strategy:
    return FedYogi(
        **WHOLE_PLAN, eta=options.eta, beta_1=options.beta_1, beta_2=options.beta_2, tau=options.tau
    )
