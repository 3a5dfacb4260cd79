"""Two checkpoints side by side, as far as their rows tell."""

from dataclasses import dataclass
from typing import Any

from fl_server.models import Checkpoint


@dataclass(frozen=True)
class MetricPair:
    """difference is second - first; None where one of them is not known."""

    name: str
    first: float | None
    second: float | None
    difference: float | None


def metrics(first: Checkpoint, second: Checkpoint) -> list[MetricPair]:
    names = sorted({*first.metrics, *second.metrics})
    return [_pair(name, first.metrics.get(name), second.metrics.get(name)) for name in names]


def _pair(name: str, first: Any, second: Any) -> MetricPair:
    return MetricPair(name, first, second, None if first is None or second is None else second - first)
