"""What the owner of this machine decided: a pause, and the own layer of the policy. JSON files of the home.

A file that cannot be read counts as a pause, never as permission: nobody knows what the owner had said.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from fl_client import home as files
from fl_client.home import Home
from fl_client.link_errors import BadInput
from fl_client.policy.pause import Pause
from fl_client.policy.rules import Rules

TEXT_MOST = 100  # characters
LONGEST = timedelta(days=30)
DURATION = re.compile(r"(?=.)(?:(\d{1,3})d)?(?:(\d{1,3})h)?(?:(\d{1,4})m)?")


class Damaged(BadInput):
    """A file of the owner's cannot be read."""


@dataclass(frozen=True)
class Will:
    """What the owner wants now, for `policy.decide`."""

    pause: Pause | None = None
    rules: Rules = field(default_factory=Rules)


def read(home: Home) -> Will:
    """Never fails. The pause may be over: `decide` knows the time."""
    try:
        own, rules = pause(home), saved_rules(home)
    except Damaged as exc:
        return Will(pause=Pause(text=str(exc)))
    return Will(own, rules)


def pause(home: Home) -> Pause | None:
    cure = "“constellation resume” mends it"
    data = _bytes(home, files.PAUSE, cure)
    if data is None:
        return None
    try:
        stored = json.loads(data)
        until = stored["until"]
        return Pause(None if until is None else datetime.fromisoformat(until), str(stored["text"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise Damaged(f"{files.PAUSE} is damaged; {cure}") from exc


def set_pause(home: Home, until: datetime | None = None, text: str = "") -> Pause:
    """Take no work, until then or until resumed."""
    made = Pause(until, text.strip()[:TEXT_MOST])
    document = {"until": until.isoformat() if until else None, "text": made.text}
    home.write(files.PAUSE, json.dumps(document).encode())
    return made


def resume(home: Home) -> None:
    home.remove(files.PAUSE)


def saved_rules(home: Home) -> Rules:
    cure = "“constellation policy unset --all” forgets your rules"
    data = _bytes(home, files.RULES, cure)
    if data is None:
        return Rules()
    try:
        return Rules.model_validate_json(data)
    except ValidationError as exc:
        raise Damaged(f"{files.RULES} is damaged; {cure}") from exc


def save_rules(home: Home, rules: Rules) -> None:
    home.write(files.RULES, rules.model_dump_json(exclude_none=True, indent=2).encode())


def forget_rules(home: Home) -> None:
    home.remove(files.RULES)


def rules_of(document: bytes | str, source: str) -> Rules:
    try:
        return Rules.model_validate_json(document)
    except ValidationError as exc:
        raise BadInput(f"{source}: {first_fault(exc)}") from exc


def first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def end_of(text: str, now: datetime) -> datetime | None:
    """`30m`, `1h`, `1h30m`, `2d`, `today`; nothing means until resumed. `now` is aware and local."""
    text = text.strip().lower()
    if not text:
        return None
    if text == "today":
        return _midnight(now)
    match = DURATION.fullmatch(text)
    if match is None:
        raise BadInput(f"{text!r} is no time: say 30m, 1h, 1h30m, 2d or today, or nothing: until you resume.")
    days, hours, minutes = (int(part or 0) for part in match.groups())
    span = timedelta(days=days, hours=hours, minutes=minutes)
    if not timedelta(0) < span <= LONGEST:
        raise BadInput(f"A pause of {text} is not possible: up to {LONGEST.days} days, or until you resume.")
    # Between instants, so that an hour stays an hour when the clock is put back.
    return datetime.fromtimestamp(now.timestamp() + span.total_seconds(), now.tzinfo)


def _bytes(home: Home, name: str, cure: str) -> bytes | None:
    try:
        return home.read(name)
    except OSError as exc:
        # Without its path, which is told to the platform as the reason of the pause.
        raise Damaged(f"{name} cannot be read; {cure}") from exc


def _midnight(now: datetime) -> datetime:
    """The end of today on the wall clock; through the system's zone, whose offset may change tonight."""
    tomorrow = now.replace(tzinfo=None).date() + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day).astimezone()
