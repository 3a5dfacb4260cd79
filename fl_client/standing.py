"""What this machine does at one moment, for its owner: the page, the command line and the log read it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from fl_client import owner
from fl_client.home import Home
from fl_client.policy import layers, words
from fl_client.policy.decide import Decision
from fl_client.policy.rules import Rules


class Connection(StrEnum):
    CONNECTED = "connected"
    CONNECTING = "connecting"
    STOPPED = "stopped"  # no agent runs


class Phase(StrEnum):
    PREPARING = "preparing"  # reserved: the engine's link opens, the data loads
    WAITING = "waiting"  # between two rounds
    DOWNLOADING = "downloading"
    TRAINING = "training"
    UPLOADING = "uploading"
    PARKED = "parked"  # the owner is back; what was done is kept


@dataclass(frozen=True)
class Work:
    """The job that this machine is lent to."""

    run: int
    job: str
    researcher: str
    model: str
    rounds: int
    since: datetime
    phase: Phase = Phase.PREPARING
    round: int | None = None
    batch: int | None = None
    batches: int | None = None


@dataclass(frozen=True)
class Standing:
    device: str
    server: str
    status: str  # pending, approved or revoked, as the platform said last
    at: datetime
    connection: Connection = Connection.STOPPED
    since: datetime | None = None  # the connection is as it is
    decision: Decision | None = None
    work: Work | None = None
    above: Rules = field(default_factory=Rules)  # company and group together
    owner: Rules = field(default_factory=Rules)

    @property
    def rules(self) -> Rules:
        """What holds."""
        return layers.combine(self.above, self.owner)

    @property
    def sentence(self) -> str:
        return words.sentence(self.rules)

    @property
    def tone(self) -> str:
        """good, busy, wait, bad or calm, as the dashboard colours it."""
        if self.status == "revoked":
            return "bad"
        if self.connection is not Connection.CONNECTED or self.status == "pending":
            return "calm"
        if self.decision is not None and not self.decision.allowed:
            return "wait"
        return "busy" if self.work else "good"

    @property
    def headline(self) -> str:
        if self.status == "revoked":
            return "This machine was revoked"
        if self.connection is Connection.STOPPED:
            return "Not running"
        if self.decision is not None and not self.decision.allowed:
            return "Not training"
        if self.status == "pending":
            return "Waiting for an admin’s approval"
        if self.connection is Connection.CONNECTING:
            return "Looking for the server"
        return f"Training “{self.work.job}”" if self.work else "Ready, waiting for work"

    @property
    def detail(self) -> str:
        """The second line: why not, or how far it is."""
        if self.status != "revoked" and self.decision is not None and not self.decision.allowed:
            return f"{_capital(self.decision.reason)}."
        if self.work is None or self.connection is not Connection.CONNECTED:
            return ""
        return f"For {self.work.researcher}: {progress(self.work)}."

    def as_message(self) -> dict[str, Any]:
        told: dict[str, Any] = _adapter.dump_python(self, mode="json")
        return told


_adapter = TypeAdapter(Standing)


def read(document: bytes | str) -> Standing:
    """What `as_message` said."""
    return _adapter.validate_json(document)


def of_files(home: Home) -> Standing:
    """What is known without a running agent."""
    state, will = home.enrolled(), owner.read(home)
    return Standing(
        device=state.name,
        server=state.server,
        status=state.status,
        at=datetime.now(UTC),
        owner=will.rules,
    )


def progress(work: Work) -> str:
    model = f"{work.model}, round {work.round} of {work.rounds}" if work.round else work.model
    if work.phase is Phase.TRAINING and work.batch is not None and work.batches:
        return f"{model}, batch {work.batch} of {work.batches}"
    doing = {
        Phase.PREPARING: "getting ready",
        Phase.WAITING: "waiting for the next round",
        Phase.DOWNLOADING: "fetching the model",
        Phase.TRAINING: "training",
        Phase.UPLOADING: "sending the result",
        Phase.PARKED: "set aside until the machine is free again",
    }[work.phase]
    return f"{model}, {doing}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
