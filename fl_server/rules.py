"""A policy's rules as they come in and as they are stored. What they mean, `fl_client.policy` knows."""

import json
import math
from typing import Any

from pydantic import ValidationError

from fl_client.policy.rules import COMPANY_DEFAULTS, Rules
from fl_server.exceptions import InvalidInput

__all__ = ["COMPANY_DEFAULTS", "Rules", "known", "parse", "stored"]

# They travel to every device in one message.
MAX_CHARACTERS = 16_000
SHOWN_CHARACTERS = 200


def parse(data: Any) -> Rules:
    """Raises InvalidInput, whose `errors` list every fault: field, message, the value given."""
    try:
        rules = Rules.model_validate(data)
    except ValidationError as exc:
        raise _invalid([_fault(error) for error in exc.errors()]) from exc
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


def _invalid(faults: list[dict[str, Any]]) -> InvalidInput:
    first = faults[0]
    return InvalidInput(f"{first['field']}: {first['message']}", field=first["field"], errors=faults)


def _fault(error: Any) -> dict[str, Any]:
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"there is no such rule; allowed are {', '.join(Rules.model_fields)}"
    return {
        "field": ".".join(str(part) for part in error["loc"]) or "rules",
        "message": message,
        "value": _shown(error.get("input")),
    }


def _shown(value: Any) -> Any:
    """A value as an answer in JSON may repeat it: short, and no number that JSON has not."""
    if isinstance(value, str):
        return value[:SHOWN_CHARACTERS]
    if isinstance(value, int | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return repr(value)[:SHOWN_CHARACTERS]
