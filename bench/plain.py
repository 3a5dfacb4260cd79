"""The training that the floor and stock Flower do: plain torch, one thread, nothing of Constellation's.

Model, rows and order of batches are those of Constellation's own training, so that all end with the same
accuracy.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.workload import BATCH, LEARNING_RATE, NUDGE, SEED, arrays
from fl_client.draws import Purpose, generator

torch.set_num_threads(1)


def build(model: str, weights: dict[str, np.ndarray]) -> nn.Module:
    if model == "2nn":
        module: nn.Module = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
        )
    elif model == "cnn":
        module = nn.Sequential(
            *(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10)),
        )
    else:
        module = nn.ParameterList(torch.zeros(array.shape) for array in weights.values())
    put(module, weights)
    return module


def put(module: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Weights by position: the names are those of another implementation of the same model."""
    pairs = zip(module.state_dict().values(), weights.values(), strict=True)
    with torch.no_grad():
        for tensor, array in pairs:
            tensor.copy_(torch.from_numpy(array))


def rows(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    loaded = arrays(folder / f"{part}.npz")
    return torch.from_numpy(loaded["images"]), torch.from_numpy(loaded["labels"])


def train(module: nn.Module, images: Tensor, labels: Tensor, round_number: int, index: int) -> None:
    """One epoch, or one addition to each tensor where the model only travels."""
    if isinstance(module, nn.ParameterList):
        with torch.no_grad():
            for parameter in module:
                parameter.add_(NUDGE)
        return
    order = generator(SEED, Purpose.ORDER, round_number, index).permutation(len(labels))
    optimiser = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)
    module.train()
    for batch in torch.split(torch.from_numpy(order), BATCH):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
        optimiser.step()


@torch.inference_mode()
def accuracy(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    module.eval()
    right = [
        (module(some).argmax(1) == wanted).sum().item()
        for some, wanted in zip(torch.split(images, 1000), torch.split(labels, 1000), strict=True)
    ]
    return sum(right) / len(labels)
