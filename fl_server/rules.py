"""A policy's rules as they come in and as they are stored. What they mean, `fl_client.policy` knows."""

import json
from typing import Any

from pydantic import ValidationError

from fl_client.policy.rules import COMPANY_DEFAULTS, Rules
from fl_server import faults
from fl_server.exceptions import InvalidInput

__all__ = ["COMPANY_DEFAULTS", "Rules", "known", "parse", "stored"]

# They travel to every device in one message.
MAX_CHARACTERS = 16_000
NO_SUCH_RULE = f"there is no such rule; allowed are {', '.join(Rules.model_fields)}"


def parse(data: Any) -> Rules:
    """Raises InvalidInput, whose `errors` list every fault: field, message, the value given."""
    try:
        rules = Rules.model_validate(data)
    except ValidationError as exc:
        raise _invalid(faults.of(exc, "rules", NO_SUCH_RULE)) from exc
    text = json.dumps(stored(rules))
    if len(text) > MAX_CHARACTERS:
        sentence = f"they take {len(text)} characters; at most {MAX_CHARACTERS} are allowed"
        raise _invalid([{"field": "rules", "message": sentence, "value": None}])
    if "\\u0000" in text:  # no database of ours is sure to keep it
        raise _invalid([{"field": "rules", "message": "a name may not contain NUL", "value": None}])
    return rules


def known(data: dict[str, Any]) -> Rules:
    """From a client or a database that may be newer: fields that this version does not know are dropped."""
    return parse({name: value for name, value in data.items() if name in Rules.model_fields})


def stored(rules: Rules) -> dict[str, Any]:
    """As JSON, without what they do not say."""
    return rules.model_dump(mode="json", exclude_none=True)


def _invalid(found: list[dict[str, Any]]) -> InvalidInput:
    first = found[0]
    return InvalidInput(f"{first['field']}: {first['message']}", field=first["field"], errors=found)
