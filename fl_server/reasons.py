"""Why a device does not train, in words for people other than its owner.

The device's own sentence may name its owner's programs and networks, so it is shown to the owner alone: not
to observers, and not to admins either, who may ask for the log. Everybody else gets the words of the code.
"""

from collections.abc import Iterable
from typing import Any

from fl_server.models import Device

GENERAL = {
    "paused": "is paused by its owner",
    "in-use": "is being used",
    "quiet-too-short": "was used a short while ago",
    "program-running": "runs a program that needs it whole",
    "outside-hours": "is outside its hours",
    "hours-ending": "is at the end of its hours",
    "on-battery": "runs on battery",
    "battery-low": "is low on battery",
    "metered-network": "is on a metered network",
    "network-denied": "is on a network without training",
    "too-hot": "is too hot",
    "memory-low": "is short of memory",
    "memory-share": "has used up its share of memory",
    "cpu-busy": "is busy with other programs",
    "no-new-work": "starts nothing new before its hours end",
}
# A newer client may know reasons that this server does not, an older one tells none.
UNKNOWN = "does not train for a reason of its own"


def general(codes: Iterable[str]) -> str:
    """What the most important of the codes means, as the rest of a sentence about the device."""
    first = next(iter(codes), "")
    return GENERAL.get(first, UNKNOWN)


def shown_to(user: Any, device: Device) -> str:
    """Why it does not train or starts nothing new, as a sentence; empty when nothing is in the way."""
    if device.may_train and device.may_start:
        return ""
    if device.owner_id == user.pk and device.decision_reason:
        text = device.decision_reason
        return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
    return f"It {general(device.decision_codes)}."
