"""What a waiting job says of itself: the form of `TrainingJob.waiting`."""

from datetime import datetime
from typing import Any

from fl_server.placement.facts import Demand
from fl_server.placement.fleet import Fleet

SHOWN_REASONS = 20


def devices(fleet: Fleet, demand: Demand, needed: int) -> dict[str, Any]:
    """Too few devices fit now: how many are needed, how many fit, one reason for each that does not."""
    capacity = fleet.capacity(demand)
    named, more = fleet.reasons(demand, SHOWN_REASONS)
    said = {
        "sentence": f"Waits for devices: {needed} needed, {capacity.fit} fit now.",
        "needed": needed,
        "fit": capacity.fit,
        "unfit": named,
        "unfit_more": more,
    }
    if capacity.ever < needed:
        said |= {"impossible": True, "sentence": f"{said['sentence']} {impossible(fleet, demand)}"}
    return said


def impossible(fleet: Fleet, demand: Demand) -> str:
    """That no patience helps: even with every device free too few could take it."""
    capacity = fleet.capacity(demand)
    reason, count = fleet.missing(demand)
    if not reason:
        return f"The whole fleet has only {capacity.total}."
    why = f"{count} {_plural(reason) if count > 1 else reason}"
    return f"Impossible requirements: {capacity.ever} of {capacity.total} could ever take it, for {why}."


def patience(give_up_at: datetime | None, then: str) -> dict[str, Any]:
    """When it gives up, and what then."""
    return {
        "give_up_at": give_up_at.isoformat() if give_up_at else None,
        "then": then if give_up_at else "",
    }


def _plural(reason: str) -> str:
    """Of the rest of a sentence about one device."""
    verb, _, rest = reason.partition(" ")
    return f"{ {'has': 'have', 'lacks': 'lack', 'does': 'do', 'was': 'were'}.get(verb, verb) } {rest}"
