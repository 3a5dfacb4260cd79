"""How a ServerApp reaches its devices beside the engine: over the bus, through their sockets."""

import queue
import threading
from typing import Any

from django.db.models import F, Q, QuerySet

from fl_server import bus, events
from fl_server.flower.lease import persist
from fl_server.models import Device, Participation, Reservation, Run
from fl_server.services import participations
from strategies.link import Signal

Status = Participation.Status
KINDS = frozenset({"ready", "uploaded", "failed", "parked", "gone"})


class SocketLink:
    """`strategies.link.Link` for one run."""

    def __init__(self, run: Run, stop: threading.Event) -> None:
        self.signals: queue.SimpleQueue[Signal] = queue.SimpleQueue()
        self.stop = stop
        self.prepared = threading.Event()
        self._run = run
        self._devices: dict[int, Device] = {}
        bus.get().subscribe(events.run_group(run.pk), self._receive)

    def _receive(self, message: dict[str, Any]) -> None:
        facts = message["payload"]
        kind = facts["type"]
        if kind == "prepared":
            self.prepared.set()
        elif kind == "cancel":
            self.stop.set()
            self.signals.put(Signal("gone", 0))
        elif kind in KINDS and facts.get("node"):
            round_number = facts.get("working_on") if kind == "ready" else facts.get("round")
            text = f"{facts['code']}: {facts['message']}" if kind == "failed" else ""
            final = bool(facts.get("final"))
            self.signals.put(Signal(kind, int(facts["node"]), round_number, text, final))

    def reserved(self) -> set[int]:
        """Nodes of all devices that the run still holds, that can do its work and may."""
        return self._nodes(self._held().filter(device__may_train=True))

    def ready(self) -> set[int]:
        there = self._held().exclude(Device.gone("device__")).exclude(Device.silent("device__"))
        return self._nodes(there.filter(ready_at__isnull=False, device__may_train=True))

    def _held(self) -> QuerySet[Reservation]:
        """A device whose copy of the dataset differs would train on rows that others hold too."""
        same_rows = Q(rows_found__isnull=True) | Q(rows_found=F("rows"))
        held = self._run.reservations.filter(same_rows, released_at__isnull=True, problem="")
        return held.exclude(device__node_id="")

    def _nodes(self, reservations: QuerySet[Reservation]) -> set[int]:
        ids = persist(lambda: list(reservations.values_list("device__node_id", flat=True)))
        return {int(node) for node in ids}

    def device(self, node: int) -> Device:
        if node not in self._devices:
            self._devices[node] = persist(lambda: Device.objects.get(node_id=str(node)))
        return self._devices[node]

    def wake(self, node: int, round: int) -> None:
        events.tell_device(self.device(node).pk, type="wake", run=self._run.pk, round=round)

    def finish(self, node: int, round: int) -> None:
        events.tell_device(self.device(node).pk, type="finish", run=self._run.pk, round=round)

    def abandon(self, node: int, round: int) -> None:
        events.tell_device(self.device(node).pk, type="abandon", run=self._run.pk, round=round)

    def resent(self, node: int, round: int, attempts: int) -> None:
        device = self.device(node)
        persist(lambda: participations.sent_again(self._run, round, device, attempts))

    def late(self, node: int, round: int) -> None:
        self._settle(node, round, Status.LATE, "late", "The reply came after the round had closed.")

    def lost(self, node: int, round: int, reason: str) -> None:
        self._settle(node, round, Status.LOST, "lost", reason)

    def _settle(self, node: int, round: int, to: Participation.Status, code: str, reason: str) -> None:
        device = self.device(node)
        persist(lambda: participations.settle(self._run, round, device, to, reason_code=code, reason=reason))
