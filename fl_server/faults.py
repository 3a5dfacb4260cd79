"""What pydantic found wrong, as an answer lists it: field, message and the value that was given."""

import math
from typing import Any

from pydantic import ValidationError

SHOWN_CHARACTERS = 200


def of(error: ValidationError, whole: str, unknown: str = "") -> list[dict[str, Any]]:
    """`whole` names the document, for a fault that lies in no single field; `unknown` is said of fields
    that do not exist, where something better than pydantic's words is known."""
    return [
        {
            "field": ".".join(str(part) for part in fault["loc"]) or whole,
            "message": unknown
            if unknown and fault["type"] == "extra_forbidden"
            else fault["msg"].removeprefix("Value error, "),
            "value": shown(fault.get("input")),
        }
        for fault in error.errors()
    ]


def shown(value: Any) -> Any:
    """A value as an answer in JSON may repeat it: short, and no number that JSON has not."""
    if isinstance(value, str):
        return value[:SHOWN_CHARACTERS]
    if isinstance(value, int | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return repr(value)[:SHOWN_CHARACTERS]
