"""What devices last said, kept in memory for a moment and written together.

Alone, each sample would cost an UPDATE and two events. A process that crashes loses a moment of `last_seen`,
which the next sample renews. What changes a decision does not wait: `services.devices` writes it at once.
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from fl_server import events
from fl_server.models import Device

SECONDS = 2.0  # that a sign of life may wait; small beside STALE_AFTER
FIELDS = ("last_seen", "telemetry", "decision_reason", "decision_until")
ROWS_AT_ONCE = 100


@dataclass(frozen=True)
class Sign:
    owner_id: int
    facts: dict[str, Any]


class Signs:
    """The newest sign of each device; any thread may add or take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Any, Sign] = {}
        self._since = 0.0

    def add(self, device: Device, facts: dict[str, Any]) -> bool:
        """Keep it until it is written. True when some have waited long enough."""
        now = time.monotonic()
        with self._lock:
            if not self._waiting:
                self._since = now
            self._waiting[device.pk] = Sign(device.owner_id, facts)
            return now - self._since >= SECONDS

    def take(self, device: Device) -> dict[str, Any]:
        with self._lock:
            sign = self._waiting.pop(device.pk, None)
        return sign.facts if sign else {}

    def take_all(self) -> dict[Any, Sign]:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        return waiting


signs = Signs()


def add(device: Device, facts: dict[str, Any]) -> None:
    """`facts` names all of FIELDS."""
    if signs.add(device, facts):
        flush()


def take(device: Device) -> dict[str, Any]:
    """What waits of one device; the caller writes it, or something newer."""
    return signs.take(device)


def flush() -> int:
    """Write what waits, in order of the keys, and tell the pages; returns how many devices spoke."""
    waiting = sorted(signs.take_all().items())
    for start in range(0, len(waiting), ROWS_AT_ONCE):
        _write(waiting[start : start + ROWS_AT_ONCE])
    return len(waiting)


def _write(waiting: list[tuple[Any, Sign]]) -> None:
    """A transaction for a few: a change of decision that wants to be written meanwhile waits for no more."""
    rows = [Device(pk=key, **sign.facts) for key, sign in waiting]
    with transaction.atomic():
        Device.objects.exclude(status=Device.Status.REVOKED).bulk_update(rows, FIELDS)
        events.devices_spoke([(key, sign.owner_id, _shown(sign.facts)) for key, sign in waiting])


def _shown(facts: dict[str, Any]) -> dict[str, Any]:
    return {"last_seen": facts["last_seen"].isoformat(), "telemetry": facts["telemetry"]}
