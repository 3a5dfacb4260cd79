"""Is the owner at the machine? One who was away is back at the first input, and away again after a while."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fl_client.policy.facts import Facts, Session
from fl_client.policy.rules import Rules

# Input within the last minute is use, whatever the rules say: 0 minutes do not mean under a typing hand.
IN_USE = timedelta(minutes=1)
# A visit that is over so soon only interrupted; after a longer one the owner has to be gone as for a start.
SHORT_VISIT = timedelta(minutes=10)


@dataclass(frozen=True)
class Presence:
    in_use: bool
    quiet: timedelta | None = None  # since the last input; None: nobody can tell
    needed: timedelta = IN_USE  # quiet time after which the owner counts as away
    came_back: datetime | None = None  # the input that ended an absence, while the visit lasts


def observe(
    facts: Facts, rules: Rules, now: datetime, was_away: bool = False, came_back: datetime | None = None
) -> Presence:
    """Read presence off the facts; `was_away` and `came_back` are those of the last decision."""
    if facts.session is Session.NONE:
        return Presence(False)
    if facts.input_idle_seconds is None:
        return Presence(facts.session is not Session.LOCKED)
    quiet = timedelta(seconds=facts.input_idle_seconds)
    touched = now.astimezone(UTC) - quiet
    back = touched if was_away else came_back
    visiting = back is not None and touched - back < SHORT_VISIT
    start, resume = waits(rules)
    needed = resume if visiting or facts.session is Session.LOCKED else start
    in_use = quiet < needed
    return Presence(in_use, quiet, needed, back if in_use else None)


def waits(rules: Rules) -> tuple[timedelta, timedelta]:
    """Quiet time before a start and after a short visit. A rule with one of them means it for both."""
    given = [minutes for minutes in (rules.idle_minutes, rules.resume_minutes) if minutes is not None]
    start, resume = max(given, default=0), min(given, default=0)
    return max(IN_USE, timedelta(minutes=start)), max(IN_USE, timedelta(minutes=resume))
