"""The owner's own stop, for a while or until resumed."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Pause:
    until: datetime | None = None  # aware; None: until the owner resumes
    text: str = ""

    def __post_init__(self) -> None:
        if self.until is not None and self.until.tzinfo is None:
            raise ValueError("the end of a pause needs its time zone")

    def holds(self, now: datetime) -> bool:
        # In UTC: two times of one zone are compared by their clocks, which repeat an hour in autumn.
        return self.until is None or now.astimezone(UTC) < self.until.astimezone(UTC)
