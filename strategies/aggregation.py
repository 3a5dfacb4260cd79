"""The weighted mean of models, folded one at a time.

    mean = sum_k n_k · w_k / sum_k n_k

Memory is one accumulator, whatever the number of models, and temporaries of one block.

Order of arrival. Integers and bools are summed exactly, so their mean never depends on it. Floating tensors
are summed in float64. For float32 and float16 every product n_k · w_k is exact while n_k < 2^29, and the sum
of an entry is exact, hence independent of the order, while sum_k n_k · |w_k| stays below 2^53 times the last
binary place of its smallest term: for float32, while the largest |w_k| times sum_k n_k is below about 2^29
times the smallest |w_k| that is not zero. Beyond that the float64 sum may differ in its last places by the
order; rounding to float32 hides this unless the sum lies within that error of a rounding boundary, about one
entry in 2^29 for each addition that rounds. float64 tensors are not rounded: their last place may differ.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from strategies.document import Arrays

# 4 MB of float64. Shorter runs through memory cost up to half as much again, longer ones gain nothing.
BLOCK = 1 << 19
# Keeps both halves of an integer sum inside int64.
MAX_TOTAL_WEIGHT = 2**31 - 1
_LOW_HALF = 0xFFFFFFFF


class _Sum(Protocol):
    def reset(self) -> None: ...

    def add(self, flat: npt.NDArray[Any], weight: int) -> None: ...

    def mean(self, total: int, out: npt.NDArray[Any]) -> None: ...


class _FloatSum:
    def __init__(self, size: int, scratch: npt.NDArray[np.float64]) -> None:
        self._sum = np.empty(size)
        self._scratch = scratch
        self._empty = True

    def reset(self) -> None:
        self._empty = True

    def add(self, flat: npt.NDArray[Any], weight: int) -> None:
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            part = self._sum[start : start + BLOCK]
            scaled = part if self._empty else self._scratch[: block.size]
            # Converting first and scaling after is faster than a multiply that numpy has to buffer.
            np.copyto(scaled, block)
            np.multiply(scaled, weight, out=scaled)
            if not self._empty:
                np.add(part, scaled, out=part)
        self._empty = False

    def mean(self, total: int, out: npt.NDArray[Any]) -> None:
        for start in range(0, out.size, BLOCK):
            part = self._sum[start : start + BLOCK]
            scaled = self._scratch[: part.size]
            np.divide(part, total, out=scaled)
            out[start : start + BLOCK] = scaled


class _IntegerSum:
    """A 96-bit sum in two int64 halves: value = high · 2^32 + low."""

    def __init__(self, size: int) -> None:
        self._high = np.zeros(size, dtype=np.int64)
        self._low = np.zeros(size, dtype=np.int64)

    def reset(self) -> None:
        self._high.fill(0)
        self._low.fill(0)

    def add(self, flat: npt.NDArray[Any], weight: int) -> None:
        for start in range(0, flat.size, BLOCK):
            span = slice(start, start + BLOCK)
            block = flat[span].astype(np.uint64 if flat.dtype == np.uint64 else np.int64)
            self._high[span] += (block >> 32).astype(np.int64) * weight
            self._low[span] += (block & _LOW_HALF).astype(np.int64) * weight

    def mean(self, total: int, out: npt.NDArray[Any]) -> None:
        for start in range(0, out.size, BLOCK):
            span = slice(start, start + BLOCK)
            high = self._high[span] + (self._low[span] >> 32)
            high, rest = np.divmod(high, total)
            low, rest = np.divmod((rest << 32) + (self._low[span] & _LOW_HALF), total)
            # rest < total < 2^31, so doubling it is safe
            up = (2 * rest > total) | ((2 * rest == total) & (low & 1 == 1))
            # uint64 wraps, which is two's complement for a negative high
            whole = (high.astype(np.uint64) << np.uint64(32)) + low.astype(np.uint64) + up
            out[span] = whole.astype(out.dtype) if out.dtype.kind == "u" else whole.view(np.int64)


class WeightedMean:
    """Folds models of equal names, shapes and dtypes; float16/32/64, integers and bools."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0
        self._layout: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        self._sums: dict[str, _Sum] = {}

    def add(self, arrays: Mapping[str, npt.NDArray[Any]], weight: int) -> None:
        """Fold one model. It is refused whole, before anything is added, if it does not fit the others."""
        if type(weight) is not int or weight < 1:
            raise ValueError(f"a weight is a positive integer, not {weight!r}")
        if self.total + weight > MAX_TOTAL_WEIGHT:
            raise ValueError(f"the weights of one mean may sum up to {MAX_TOTAL_WEIGHT}")
        layout = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if self.count == 0 and layout != self._layout:
            self._prepare(layout)
        if layout != self._layout:
            raise ValueError("names, shapes and dtypes must be those of the first model")
        for name, array in arrays.items():
            self._sums[name].add(array.reshape(-1), weight)
        self.total += weight
        self.count += 1

    def mean(self) -> Arrays:
        """The mean so far in the models' own dtypes; integers and bools rounded half to even."""
        if self.count == 0:
            raise ValueError("the mean of no models is not defined")
        means: Arrays = {}
        for name, (shape, dtype) in self._layout.items():
            means[name] = np.empty(shape, dtype=dtype)
            self._sums[name].mean(self.total, means[name].reshape(-1))
        return means

    def reset(self) -> None:
        """Begin a new mean. Memory is kept for models like the last: touching it anew costs a whole pass."""
        self.total = 0
        self.count = 0
        for part in self._sums.values():
            part.reset()

    def _prepare(self, layout: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
        for name, (_, dtype) in layout.items():
            if dtype.kind not in "fiub" or dtype.itemsize > 8:
                raise ValueError(f"tensor {name!r}: there is no weighted mean for {dtype}")
        scratch = np.empty(BLOCK)
        self._layout = layout
        self._sums = {
            name: _FloatSum(math.prod(shape), scratch) if dtype.kind == "f" else _IntegerSum(math.prod(shape))
            for name, (shape, dtype) in layout.items()
        }


class MeanOfMetrics:
    """Weighted mean of each metric over the replies that report it."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weights: dict[str, int] = {}

    def add(self, metrics: Mapping[str, float], weight: int) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + weight * value
            self._weights[name] = self._weights.get(name, 0) + weight

    def mean(self) -> dict[str, float]:
        return {name: self._sums[name] / self._weights[name] for name in sorted(self._sums)}
