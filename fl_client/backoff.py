"""Waiting longer after each failure, at random, so that a fleet does not come back all at once."""

import random
from collections.abc import Callable


class Backoff:
    """Full jitter: each wait is uniform between zero and a ceiling that doubles with each failure."""

    def __init__(
        self,
        first: float = 0.2,
        longest: float = 30.0,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first, self._longest, self._draw = first, longest, draw
        self._failures = 0

    def next(self, longest: float | None = None) -> float:
        """Seconds to wait now, under the ceiling `longest` where somebody waits for this machine."""
        # The exponent is bounded so that a machine that is offline for days does not overflow it.
        ceiling = min(longest or self._longest, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return self._draw(0.0, ceiling)

    def reset(self) -> None:
        self._failures = 0
