"""How far an update goes, and whether that is much farther than others went.

The norm is Euclidean over all floating tensors of (reply - model that was sent out), in float64. A norm is
judged against the median of the accepted norms of earlier rounds only: what is judged in a round does not
depend on the order in which its replies arrive, nor on a restart in between.
"""

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Action = Literal["off", "warn", "reject"]

BLOCK = 1 << 18
# Fewer norms than this tell nothing about what is usual.
ENOUGH = 5
# The length of updates falls as training settles, so only the last rounds count.
ROUNDS = 10


class PastNorm(NamedTuple):
    round: int
    norm: float


def update_norm(before: Mapping[str, npt.NDArray[Any]], after: Mapping[str, npt.NDArray[Any]]) -> float:
    """‖after - before‖ over the floating tensors; both have the same names and shapes."""
    total = 0.0
    for name, array in after.items():
        if array.dtype.kind != "f":
            continue
        new, old = array.reshape(-1), before[name].reshape(-1)
        for start in range(0, new.size, BLOCK):
            block = new[start : start + BLOCK].astype(np.float64)
            block -= old[start : start + BLOCK]
            total += float(np.dot(block, block))
    return math.sqrt(total)


class NormWatch:
    """The running median of one job. `past` are the accepted norms of rounds before this run."""

    def __init__(self, action: Action, factor: float, past: Iterable[PastNorm] = ()) -> None:
        self.action = action
        self._factor = factor
        self._past = list(past)

    def judge(self, round: int, norm: float) -> str:
        """Why an update of this length stands out; empty when it does not, or when too little is known."""
        earlier = [known.norm for known in self._past if round - ROUNDS <= known.round < round]
        if len(earlier) < ENOUGH:
            return ""
        usual = median(earlier)
        if norm <= self._factor * usual:
            return ""
        times = f"{norm / usual:.3g} times" if usual else "beyond any multiple of"
        return (
            f"the update has norm {norm:.4g}, {times} the median {usual:.4g} of {len(earlier)} updates; "
            f"allowed is {self._factor:g} times"
        )

    def accept(self, round: int, norm: float) -> None:
        self._past = [known for known in self._past if known.round >= round - ROUNDS]
        self._past.append(PastNorm(round, norm))
