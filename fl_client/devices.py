"""Where training runs."""

import torch
from torch import nn

from fl_client import environment


def pick_device() -> torch.device:
    """The owner's choice, else CUDA, else Apple's MPS, else the processor."""
    if chosen := environment.device():
        return torch.device(chosen)
    if torch.cuda.is_available():
        return torch.device("cuda:0")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def warm_up(device: torch.device) -> None:
    """One tiny training step, so that the first real one does not pay for what torch loads on first use."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 2)).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    images = torch.zeros(2, 1, 4, 4, device=device)
    labels = torch.zeros(2, dtype=torch.int64, device=device)
    torch.autograd.backward(nn.functional.cross_entropy(model(images), labels))
    optimiser.step()
