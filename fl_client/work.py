"""One round in a device's hand: what was asked, how far it came, what it cost."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict

from fl_client import exchange, snapshot, weights
from fl_client.energy import Meter
from fl_client.errors import SnapshotError
from fl_client.exchange import Instruction
from fl_client.snapshot import Head

SNAPSHOT = "round.safetensors"


@dataclass
class Work:
    message: Message
    instruction: Instruction
    keep: Path
    meter: Meter
    started: float = field(default_factory=time.monotonic)
    answer: RecordDict | None = None
    examples: int = 0
    size: int = 0  # bytes of the answer's weights
    is_partial: bool = False
    hand_in: bool = False  # the round closes: what there is counts
    lost_seconds: float = 0.0
    transfer_seconds: float = 0.0  # of its weights, down and up
    # When the present stretch of training began; None while nothing trains.
    trains_since: float | None = None
    _spent: float = 0.0

    @property
    def at(self) -> dict[str, int]:
        return {"run": self.instruction.run, "round": self.instruction.round}

    @property
    def age(self) -> float:
        """Seconds since it was taken up."""
        return time.monotonic() - self.started

    @property
    def seconds(self) -> float:
        """Spent in training that counts."""
        return self._spent

    @property
    def costs(self) -> dict[str, Any]:
        return {
            "partial": self.is_partial,
            "lost_seconds": round(self.lost_seconds, 3),
            "train_seconds": round(self.seconds, 3),
            "transfer_seconds": round(self.transfer_seconds, 3),
            "energy_wh": self.meter.watt_hours,
        }

    def is_meant_by(self, header: dict[str, Any]) -> bool:
        """A worker's errors name their round only."""
        return self.at == {"run": header.get("run", self.instruction.run), "round": header.get("round")}

    def trains(self) -> None:
        self.meter.start()
        if self.trains_since is None:
            self.trains_since = time.monotonic()

    def rests(self) -> None:
        self.meter.stop()
        if self.trains_since is not None:
            self._spent += time.monotonic() - self.trains_since
            self.trains_since = None

    def head(self) -> Head | None:
        """What is kept of this round on disk."""
        try:
            head = snapshot.read_head(self.keep)
        except SnapshotError:
            return None
        mine = self.instruction
        is_mine = head is not None and (head.run, head.round, head.fence) == (
            mine.run,
            mine.round,
            mine.fence,
        )
        return head if is_mine else None

    def was_killed(self) -> None:
        """Whatever was trained since the last snapshot has to be done again."""
        self.rests()
        head = self.head()
        kept = head.seconds if head else 0.0
        self.lost_seconds += max(0.0, self._spent - kept)
        self._spent = kept

    def answer_with(self, examples: int, metrics: dict[str, float], packed: bytes) -> None:
        self.rests()
        self.examples, self.size = examples, len(packed)
        self.answer = exchange.write(self.instruction, examples, metrics, packed)

    def answer_with_what_is_kept(self) -> bool:
        """False where nothing is. Needs no worker: the snapshot holds the weights as they are handed in."""
        head = self.head()
        if head is None or head.examples == 0:
            return False
        try:
            kept = snapshot.read(self.keep)
        except SnapshotError:
            return False
        self.is_partial = True
        done = {**head.metrics, "seconds": head.seconds, "done": head.done / head.batches}
        self.answer_with(head.examples, done, weights.pack(kept.weights))
        return True

    def forget(self) -> None:
        self.rests()
        self.keep.unlink(missing_ok=True)
