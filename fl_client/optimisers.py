"""The local optimisers of a job, and the proximal term that some strategies add to the loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fl_client.assignment import Training

NUDGE = 0.001


def build(training: Training, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay)


@torch.no_grad()
def pull(parameters: Sequence[nn.Parameter], anchors: Sequence[Tensor], mu: float) -> None:
    """Add the gradient of FedProx's (mu / 2) · ‖w − w_t‖² to what the loss left in .grad.

    Li et al. 2020, equation 2; w_t are the weights that came in. mu ≥ 0; with mu = 0 nothing changes: FedAvg.
    """
    for parameter, anchor in zip(parameters, anchors, strict=True):
        if parameter.grad is not None:
            parameter.grad.add_(parameter - anchor, alpha=mu)


def state_of(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    """What an optimiser carries from step to step, as "<prefix><parameter's place>/<name>"."""
    return {
        f"{prefix}{place}/{name}": value.detach().cpu().numpy().copy()
        for place, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_state(
    optimiser: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray[Any, Any]], prefix: str
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        if key.startswith(prefix):
            place, _, name = key.removeprefix(prefix).partition("/")
            state.setdefault(int(place), {})[name] = torch.from_numpy(array.copy())
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def nudge(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array plus a constant where it holds floats: work of known result, to test the transport alone."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    return np.asarray(array + array.dtype.type(NUDGE))
