"""How much memory training takes, found by a step on torch's meta device: shapes without numbers.

So even the largest batch costs neither memory nor time.

What is counted is the worker process on a machine that trains on its processor. On a GPU, everything but the
libraries, the dataset and the weights under way lies in the GPU's memory.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fl_client import data, models, optimisers
from fl_client.assignment import Choice, Training
from fl_client.fit import GATHERED_BATCHES

# Python, torch's processor build, numpy and what deals the partitions, after one tiny step: measured on Linux
# as 500 to 520 MB at their highest. A build for CUDA takes up to 2 GB more.
LIBRARIES = 520_000_000
FLOAT = 4  # bytes
# What arrived and its arrays while it trains; then the trained copy, its parts as bytes and the document.
UNDER_WAY, HANDED_IN = 2, 3


@dataclass(frozen=True)
class Data:
    """The shape of a dataset: rows of images of bytes, dealt evenly to `partitions` devices."""

    rows: int
    row_shape: tuple[int, ...]
    partitions: int

    @property
    def share(self) -> int:
        return math.ceil(self.rows / self.partitions)


@dataclass(frozen=True)
class Footprint:
    """Bytes at the worst moment. `handed_in` follows when optimiser and activations are gone."""

    libraries: int
    data: int
    parameters: int
    gradients: int
    optimiser: int
    activations: int
    under_way: int
    handed_in: int

    @property
    def total(self) -> int:
        lasting = self.libraries + self.data + self.parameters + self.gradients + self.under_way
        return lasting + max(self.optimiser + self.activations, self.handed_in)

    def parts(self) -> dict[str, int]:
        return asdict(self)


def of(model: Choice, dataset: Choice, partitions: int, training: Training) -> Footprint:
    """The footprint of a job's training on one of its devices; loads the dataset to see its shape."""
    loaded = data.load(dataset.name, dataset.options, "train")
    shape = Data(len(loaded), tuple(loaded.images.shape[1:]), partitions)
    return estimate(model.name, model.options, shape, training)


def estimate(model: str, options: Mapping[str, Any], shape: Data, training: Training) -> Footprint:
    """By one step on the meta device.

    Precision “mixed” counts as float32, which it is wherever there is no CUDA, and which is more elsewhere.
    The proximal term of some strategies keeps one copy of the parameters more.
    """
    with torch.device("meta"):
        module = models.build(model, options, 0)
    size = min(training.batch_size or shape.share, shape.share)
    state = _bytes(module.state_dict().values())
    gathered = min(shape.share, size * GATHERED_BATCHES)
    rows = (shape.share + gathered) * (math.prod(shape.row_shape) * FLOAT + 8)
    gradients = optimiser = activations = 0
    if training.optimizer != "nudge":
        activations = _step(module, torch.empty(size, *shape.row_shape, device="meta"))
        gradients = _bytes(p.grad for p in module.parameters() if p.grad is not None)
        optimiser = _optimiser_state(module, training)
    return Footprint(
        libraries=LIBRARIES,
        data=shape.rows * (math.prod(shape.row_shape) + 8) + rows,
        parameters=state,
        gradients=gradients,
        optimiser=optimiser,
        activations=activations,
        under_way=UNDER_WAY * state,
        handed_in=HANDED_IN * state,
    )


def _step(module: nn.Module, inputs: Tensor) -> int:
    """Bytes kept for the way back, and of the largest gradient that travels back: it and its successor."""
    own = {_storage(tensor) for tensor in (*module.parameters(), *module.buffers(), inputs)}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor
        return tensor

    module.train()
    labels = torch.zeros(len(inputs), dtype=torch.int64, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(module(inputs), labels)
    sizes = sorted((tensor.untyped_storage().nbytes() for tensor in kept.values()), reverse=True)
    torch.autograd.backward(loss)
    return sum(sizes) + sum(sizes[:2])


def _optimiser_state(module: nn.Module, training: Training) -> int:
    optimiser = optimisers.build(training, list(module.parameters()))
    optimiser.step()
    return _bytes(
        value
        for values in optimiser.state.values()
        for value in values.values()
        if isinstance(value, Tensor) and value.dim()
    )


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _storage(tensor: Tensor) -> int:
    """Views of the same memory have the same one; on meta there is no address to go by."""
    return int(tensor.untyped_storage()._cdata)
