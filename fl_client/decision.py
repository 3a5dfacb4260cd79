"""May this machine train now? Its owner decides, and reads the reason."""

import json
from dataclasses import dataclass

from fl_client.home import PAUSED, Home


@dataclass(frozen=True)
class Decision:
    allowed: bool
    reason: str

    def as_message(self) -> dict[str, object]:
        return {"allowed": self.allowed, "reason": self.reason}


def decide(home: Home) -> Decision:
    """Allowed unless the owner paused it."""
    paused = home.read(PAUSED)
    if paused is None:
        return Decision(True, "")
    return Decision(False, str(json.loads(paused)["reason"]))


def pause(home: Home, reason: str = "") -> Decision:
    text = f"paused by its owner: {reason}" if reason else "paused by its owner"
    home.write(PAUSED, json.dumps({"reason": text[:200]}).encode())
    return decide(home)


def resume(home: Home) -> Decision:
    home.file(PAUSED).unlink(missing_ok=True)
    return decide(home)
