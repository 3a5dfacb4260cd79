"""What a backend reads, and what it has to offer for that."""

from dataclasses import dataclass
from typing import Protocol

from fl_client.policy.facts import Session
from fl_client.senses.sense import Unknown


@dataclass(frozen=True)
class Reading:
    """None means: this backend cannot tell."""

    idle_seconds: float | None = None
    session: Session | None = None
    user: int | None = None  # the user id of whoever is in front, where several may be logged in


class IdleBackend(Protocol):
    name: str
    period: float  # for so many seconds a reading is good enough

    def read(self) -> Reading:
        """Raises Unknown, with the reason, where this backend is of no use on this machine."""

    def probe(self) -> str:
        """Why it cannot be used here, as a sentence; empty when it can."""
        try:
            self.read()
        except Unknown as exc:
            return str(exc)
        return ""
