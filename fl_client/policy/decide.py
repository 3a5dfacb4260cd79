"""May this machine train at this moment?"""

from dataclasses import dataclass
from datetime import UTC, datetime

from fl_client.policy import checks, hours, presence, resources, unknown
from fl_client.policy.facts import Facts
from fl_client.policy.pause import Pause
from fl_client.policy.reasons import Code, Reason
from fl_client.policy.resources import Resources
from fl_client.policy.rules import Rules

__all__ = ["Code", "Decision", "Pause", "Reason", "Resources", "decide"]


@dataclass(frozen=True)
class Decision:
    allowed: bool
    may_start: bool  # False while running work goes on but nothing new begins
    in_use: bool
    resources: Resources
    reasons: tuple[Reason, ...] = ()  # all that apply, in the order of `Code`
    until: datetime | None = None  # not before this instant, where time alone tells
    unknown: tuple[str, ...] = ()  # facts that the rules needed and the machine could not tell
    came_back: datetime | None = None  # since when the owner is back, for the next decision

    @property
    def reason(self) -> str:
        return self.reasons[0].sentence if self.reasons else ""


def decide(
    facts: Facts, rules: Rules, now: datetime, *, pause: Pause | None = None, before: Decision | None = None
) -> Decision:
    """Weigh the facts against the effective rules.

    `now` is aware and in the machine's own zone, which knows daylight saving. `before` is the last decision:
    limits differ for what it allowed and for what would begin (`limits`), so decisions do not flap.
    """
    if now.tzinfo is None:
        raise ValueError("now needs its time zone")
    seen = presence.observe(
        facts,
        rules,
        now,
        was_away=before is not None and not before.in_use,
        came_back=None if before is None else before.came_back,
    )
    moment = checks.Moment(
        now=now,
        facts=facts,
        rules=rules,
        presence=seen,
        running=before is not None and before.allowed,
        pause=pause,
        hours_change=None if rules.hours is None else hours.next_change(rules.hours, now),
    )
    reasons = tuple(reason for check in checks.CHECKS if (reason := check(moment)) is not None)
    return Decision(
        allowed=all(reason.code is Code.NO_NEW_WORK for reason in reasons),
        may_start=not reasons,
        in_use=seen.in_use,
        resources=resources.allotted(facts, rules, seen.in_use, before.resources.gpus if before else ()),
        reasons=reasons,
        until=_until(reasons),
        unknown=unknown.names(facts, rules, seen),
        came_back=seen.came_back,
    )


def _until(reasons: tuple[Reason, ...]) -> datetime | None:
    """The latest end of the reasons that time ends; none where a pause has no end."""
    if any(reason.code is Code.PAUSED and reason.until is None for reason in reasons):
        return None
    ends = [reason.until for reason in reasons if reason.until is not None]
    return max(ends, key=lambda end: end.astimezone(UTC), default=None)
