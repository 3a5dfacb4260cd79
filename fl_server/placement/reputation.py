"""How far a device's answers can be relied on, from 0 (never) to 1 (always, or nothing known yet).

    reputation = (PRIOR + G) / (PRIOR + G + B)
    weight of an answer = 2^-(its age in days / HALF_DAYS) · 2^-(newer answers of the device / HALF_ANSWERS)

G is the sum of the weights of accepted answers, B that of the others, each times its FAULT. PRIOR stands for
as many good answers: a new device is trusted, and one bad answer does not undo it. docs/reputation.md has
examples.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

PRIOR = 4.0
HALF_DAYS = 7.0
HALF_ANSWERS = 20.0
# Older and more answers would weigh less than a thousandth part.
DAYS = 70
ANSWERS = 200

# Late is mostly slow: it lowers the reputation, but never below one half by itself.
FAULT = {"rejected": 1.0, "lost": 0.5, "late": 0.1}
# A device that says what is wrong is better than one that sends nonsense.
SAID_ITSELF = 0.5
# Nobody's fault, the job's fault, or the owner's good right.
NEUTRAL = frozenset(
    {
        "run-ended",
        "owner-returned",
        "stale",
        "duplicate",
        "unplanned",
        "diverged",
        "bad-options",
        "unknown-name",
        "partition-impossible",
    }
)


@dataclass(frozen=True)
class Answer:
    """What became of one part in a round, with its reason code; of a client-error the client's own code."""

    status: str
    code: str
    at: datetime

    @property
    def fault(self) -> float | None:
        """0 for a good one, up to 1 for a bad one; None where it says nothing about the device."""
        if self.status == "accepted":
            return 0.0
        if self.code in NEUTRAL:
            return None
        if self.status == "rejected" and self.code == "client-error":
            return SAID_ITSELF
        return FAULT.get(self.status)


@dataclass(frozen=True)
class Reputation:
    score: float
    sentence: str


def of(answers: Iterable[Answer], now: datetime) -> Reputation:
    """The reputation of one device from its answers, in any order."""
    newest = sorted(answers, key=lambda answer: answer.at, reverse=True)
    counted = [answer for answer in newest if answer.fault is not None][:ANSWERS]
    good = bad = 0.0
    for newer, answer in enumerate(counted):
        days = max(0.0, (now - answer.at).total_seconds() / 86_400)
        weight = 2.0 ** -(days / HALF_DAYS + newer / HALF_ANSWERS)
        fault = answer.fault or 0.0
        bad += weight * fault
        good += weight * (fault == 0.0)
    return Reputation((PRIOR + good) / (PRIOR + good + bad), _sentence(counted))


def _sentence(counted: list[Answer]) -> str:
    if not counted:
        return "No answer lately."
    found = Counter(answer.status for answer in counted)
    listed = ", ".join(f"{found[status]} {status}" for status in ("accepted", *FAULT) if found[status])
    return (
        f"Its last {len(counted)} answers: {listed}." if len(counted) > 1 else f"Its last answer: {listed}."
    )
