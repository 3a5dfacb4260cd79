"""Keeps what the owner is told in step with what happens: the standing of this moment, and the journal."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fl_client import standing
from fl_client.governor import Governor
from fl_client.home import Home
from fl_client.journal import Entry, Journal, JournalError
from fl_client.standing import Connection, Phase, Standing

if TYPE_CHECKING:
    # Loads the engine's library, which an agent that was never reserved does without.
    from fl_client.work import Work

log = logging.getLogger("constellation.journal")


class Narrator:
    """Its methods are quick and may be called from any thread."""

    def __init__(self, home: Home, governor: Governor, is_connected: Callable[[], bool]) -> None:
        self._governor = governor
        self._is_connected = is_connected
        self._journal = Journal(home)
        self._connection, self._since = Connection.CONNECTING, datetime.now(UTC)
        self._work: standing.Work | None = None
        self._state = home.enrolled

    def notice(self) -> None:
        """Look at the connection, so that it is known since when it is as it is."""
        connection = Connection.CONNECTED if self._is_connected() else Connection.CONNECTING
        if connection is not self._connection:
            self._connection, self._since = connection, datetime.now(UTC)

    def now(self) -> Standing:
        self.notice()
        state = self._state()
        return Standing(
            device=state.name,
            server=state.server,
            status=state.status,
            at=datetime.now(UTC),
            connection=self._connection,
            since=self._since,
            decision=self._governor.decision,
            work=self._work,
            above=self._governor.above,
            owner=self._governor.will.rules,
        )

    def reserved(self, assignment: dict[str, Any]) -> None:
        if self._work is None or self._work.run != assignment["run"]:
            self._work = standing.Work(
                run=int(assignment["run"]),
                job=str(assignment.get("job_name", "")),
                researcher=str(assignment.get("researcher", "")),
                model=str(assignment["model"]["name"]),
                rounds=int(assignment.get("rounds", 0)),
                since=datetime.now(UTC),
            )

    def released(self) -> None:
        self._work = None

    def heard(self, message: dict[str, Any]) -> None:
        """What the session tells the platform concerns the owner first."""
        work = self._work
        if work is None or message.get("run") != work.run:
            return
        kind = message["type"]
        if kind == "progress":
            self._work = replace(
                work,
                phase=Phase(message["phase"]),
                round=message["round"],
                batch=message.get("batch"),
                batches=message.get("batches"),
            )
        elif kind == "parked":
            self._work = replace(work, phase=Phase.PARKED, round=message["round"])
        elif kind in ("ready", "uploaded", "failed"):
            self._work = replace(work, phase=Phase.WAITING, batch=None, batches=None)

    def ended(self, done: "Work", outcome: str) -> None:
        work = self._work
        entry = Entry(
            run=done.instruction.run,
            round=done.instruction.round,
            job=work.job if work else "",
            researcher=work.researcher if work else "",
            started=datetime.now(UTC) - timedelta(seconds=done.age),
            seconds=done.seconds,
            examples=done.examples,
            partial=done.is_partial,
            energy_wh=done.meter.watt_hours,
            lost_seconds=done.lost_seconds,
            outcome=outcome,
        )
        try:
            self._journal.add(entry)
        except (JournalError, OSError) as exc:
            log.warning("not written down: %s", exc)
