"""How far two models lie apart, over their floating tensors, in float64 and a block at a time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from strategies.exceptions import StrategyError

BLOCK = 1 << 18
SHOWN = 5


class LayoutsDiffer(StrategyError):
    pass


@dataclass(frozen=True)
class TensorDistance:
    """relative is l2 over the norm of the first model's tensor; None where that is 0."""

    name: str
    shape: tuple[int, ...]
    l2: float
    relative: float | None


@dataclass(frozen=True)
class Distance:
    """cosine is that of the two models as vectors; None where one of them is 0 everywhere."""

    parameters: int
    l2: float
    relative: float | None
    cosine: float | None
    tensors: list[TensorDistance]


@dataclass
class _Sums:
    square: float = 0.0  # of the difference
    first: float = 0.0
    second: float = 0.0
    product: float = 0.0

    def add(self, other: "_Sums") -> None:
        self.square += other.square
        self.first += other.first
        self.second += other.second
        self.product += other.product


Models = Mapping[str, npt.NDArray[Any]]


def between(first: Models, second: Models) -> Distance:
    """From the first model to the second one; LayoutsDiffer unless names and shapes agree."""
    _check_layouts(first, second)
    total, tensors, parameters = _Sums(), [], 0
    for name, array in first.items():
        if array.dtype.kind != "f":
            continue
        sums = _sums(array, second[name])
        total.add(sums)
        parameters += array.size
        l2 = math.sqrt(sums.square)
        tensors.append(TensorDistance(name, array.shape, l2, _ratio(l2, math.sqrt(sums.first))))
    l2, norm = math.sqrt(total.square), math.sqrt(total.first)
    cosine = _ratio(total.product, norm * math.sqrt(total.second))
    tensors.sort(key=lambda tensor: (-tensor.l2, tensor.name))
    return Distance(
        parameters,
        l2,
        _ratio(l2, norm),
        None if cosine is None else max(-1.0, min(1.0, cosine)),
        tensors[:SHOWN],
    )


def _ratio(value: float, of: float) -> float | None:
    return value / of if of else None


def _sums(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> _Sums:
    sums = _Sums()
    a, b = first.reshape(-1), second.reshape(-1)
    for start in range(0, a.size, BLOCK):
        x = a[start : start + BLOCK].astype(np.float64)
        y = b[start : start + BLOCK].astype(np.float64)
        sums.first += float(np.dot(x, x))
        sums.second += float(np.dot(y, y))
        sums.product += float(np.dot(x, y))
        y -= x
        sums.square += float(np.dot(y, y))
    return sums


def _check_layouts(first: Models, second: Models) -> None:
    for name in sorted(first.keys() ^ second.keys()):
        raise LayoutsDiffer(f"only one of the two has a tensor {name!r}")
    for name, array in first.items():
        if array.shape != second[name].shape:
            raise LayoutsDiffer(
                f"tensor {name!r} has shape {array.shape} in one and {second[name].shape} in the other"
            )
