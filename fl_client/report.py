"""What a reserved device tells the platform about its work."""

from collections.abc import Callable
from typing import Any

from fl_client.work import Work

Send = Callable[[dict[str, Any]], None]


class Report:
    def __init__(self, send: Send) -> None:
        self._send = send

    def ready(self, assignment: dict[str, Any], in_hand: int | None, rows: int | None) -> None:
        at = {"run": assignment["run"], "fence": assignment["fence"], "round": in_hand}
        self._send({"type": "ready", **at, "rows": rows})

    def phase(self, work: Work, phase: str, batch: int | None = None, batches: int | None = None) -> None:
        self._send({"type": "progress", **work.at, "phase": phase, "batch": batch, "batches": batches})

    def parked(self, work: Work, examples: int) -> None:
        self._send({"type": "parked", **work.at, "examples": examples})

    def uploaded(self, work: Work) -> None:
        self._send({"type": "uploaded", **work.at, **work.costs})

    def failed(self, run: int, round_number: int | None, code: str, message: str) -> None:
        self._send({"type": "failed", "run": run, "round": round_number, "code": code, "message": message})
