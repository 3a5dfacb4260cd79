"""The models of the catalogue, and moving their weights in and out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fl_client import catalogue
from fl_client.errors import WeightsError

Arrays = dict[str, np.ndarray[Any, Any]]


class LeNet(nn.Module):
    """LeCun et al. 1998, with ReLU and max-pooling. Input (n, 1, 28, 28), output (n, 10)."""

    def __init__(self, _options: catalogue.NoOptions) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(256, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = nn.functional.max_pool2d(self.conv1(images).relu(), 2)  # (n, 6, 12, 12)
        hidden = nn.functional.max_pool2d(self.conv2(hidden).relu(), 2)  # (n, 16, 4, 4)
        hidden = self.fc1(hidden.flatten(1)).relu()
        out: Tensor = self.fc3(self.fc2(hidden).relu())
        return out


class TwoNN(nn.Module):
    """McMahan et al. 2017, the "MNIST 2NN". Input (n, 1, 28, 28), output (n, 10)."""

    def __init__(self, _options: catalogue.NoOptions) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 200)
        self.fc2 = nn.Linear(200, 200)
        self.fc3 = nn.Linear(200, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.fc1(images.flatten(1)).relu()
        out: Tensor = self.fc3(self.fc2(hidden).relu())
        return out


class CNN(nn.Module):
    """McMahan et al. 2017, the "MNIST CNN". Input (n, 1, 28, 28), output (n, 10)."""

    def __init__(self, _options: catalogue.NoOptions) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(3136, 512)
        self.fc2 = nn.Linear(512, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = nn.functional.max_pool2d(self.conv1(images).relu(), 2)  # (n, 32, 14, 14)
        hidden = nn.functional.max_pool2d(self.conv2(hidden).relu(), 2)  # (n, 64, 7, 7)
        out: Tensor = self.fc2(self.fc1(hidden.flatten(1)).relu())
        return out


class Payload(nn.Module):
    """A given number of parameters in a given number of tensors; the first ones are a bias on every class."""

    def __init__(self, options: catalogue.PayloadOptions) -> None:
        super().__init__()
        each, more = divmod(options.parameters, options.tensors)
        for index in range(options.tensors):
            size = each + (index < more)
            self.register_parameter(f"tensor{index:04d}", nn.Parameter(torch.rand(size) * 0.1))

    def forward(self, images: Tensor) -> Tensor:
        bias = next(self.parameters())[:10].mean()
        return bias.expand(len(images), 10)


def build(name: str, options: Mapping[str, Any], seed: int) -> nn.Module:
    """The model with weights drawn from the seed; the process's own random state stays as it was."""
    entry = catalogue.get(catalogue.MODELS, name)
    parsed = entry.parse(options)
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed every accelerator too, and those are not restored here.
        torch.default_generator.manual_seed(seed)
        module: nn.Module = entry.load()(parsed)
    return module


def initial_weights(name: str, options: Mapping[str, Any], seed: int) -> Arrays:
    return read_weights(build(name, options, seed))


def read_weights(module: nn.Module) -> Arrays:
    """A copy of everything that the model's state holds, in the model's order."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.state_dict().items()}


def load_weights(module: nn.Module, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Put arrays into the model. Names, shapes and types must be its own: nothing is broadcast or cast."""
    check_weights(module, arrays)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            array = arrays[name]
            tensor.copy_(torch.from_numpy(array if array.flags.writeable else array.copy()))


def check_weights(module: nn.Module, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    expected = module.state_dict()
    if missing := [name for name in expected if name not in arrays]:
        raise WeightsError(f"The weights lack {', '.join(missing[:5])}.")
    if extra := [name for name in arrays if name not in expected]:
        raise WeightsError(f"The weights hold {', '.join(extra[:5])}, which the model has not.")
    for name, tensor in expected.items():
        array = arrays[name]
        if array.shape != tuple(tensor.shape):
            raise WeightsError(f"{name} has shape {array.shape} where the model has {tuple(tensor.shape)}.")
        dtype = str(tensor.dtype).removeprefix("torch.")
        if str(array.dtype) != dtype:
            raise WeightsError(f"{name} is {array.dtype} where the model has {dtype}.")
