"""What a round needs of the way to its devices beside the engine, and how long it waits for them."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from strategies.exceptions import StrategyError


class Stopped(StrategyError):
    """The run is to end now: it was cancelled, or lost its lease."""


@dataclass(frozen=True)
class Signal:
    """What a device's socket told. `parked`: its owner is back, what it did so far is kept."""

    kind: Literal["ready", "uploaded", "failed", "parked", "gone"]
    node: int
    round: int | None = None  # ready: the round that the device has in hand
    message: str = ""
    final: bool = False  # gone: it will not come back


class Link(Protocol):
    """How a round reaches the devices beside the engine."""

    signals: "queue.SimpleQueue[Signal]"
    stop: threading.Event

    def ready(self) -> set[int]:
        """Nodes that are connected and warm now."""

    def wake(self, node: int, round: int) -> None: ...
    def finish(self, node: int, round: int) -> None:
        """Ask a parked device for what it has done."""

    def abandon(self, node: int, round: int) -> None: ...
    def resent(self, node: int, round: int, attempts: int) -> None: ...
    def late(self, node: int, round: int) -> None: ...
    def lost(self, node: int, round: int, reason: str) -> None: ...


@dataclass(frozen=True)
class Waiting:
    """How long a round waits. Seconds; `quorum` None means every device that is not lost."""

    deadline: float
    quorum: int | None = None
    grace: float = 0.0
    patience: float = 15.0  # for a device whose connection broke to come back
    join: float = 30.0  # for all reserved devices before the first round
    rejoin: float = 3.0  # between two rounds, for those that answered in the last one


def next_signal(link: Link, wait: float) -> Signal | None:
    try:
        return link.signals.get(timeout=max(0.0, wait))
    except queue.Empty:
        return None


def waiting_signals(link: Link) -> Iterator[Signal]:
    """Those that came already."""
    while signal := next_signal(link, 0.0):
        yield signal


def check_stop(link: Link) -> None:
    if link.stop.is_set():
        raise Stopped("the run was stopped")
