"""Labels of devices, `name=value`: which groups a machine belongs to, and which jobs it fits."""

import re
from typing import Any

from fl_server.exceptions import InvalidInput

MAX_LABELS = 50
# Neither sign by which labels are written in one line or in an address.
NAME = re.compile(r"[^\s=,/](?:[^=,/]{0,38}[^\s=,/])?")
VALUE = re.compile(r"[^\s,](?:[^,]{0,78}[^\s,])?")


def check(name: Any, value: Any) -> None:
    if not (isinstance(name, str) and NAME.fullmatch(name) and name.isprintable()):
        raise InvalidInput(
            f"label_name is {name!r}; allowed are 1 to 40 characters without '=', ',' and '/'.",
            field="label_name",
        )
    if not (isinstance(value, str) and VALUE.fullmatch(value) and value.isprintable()):
        raise InvalidInput(
            f"label_value is {value!r}; allowed are 1 to 80 characters without ','.", field="label_value"
        )


def check_all(labels: Any) -> None:
    if not isinstance(labels, dict) or len(labels) > MAX_LABELS:
        raise InvalidInput(
            f"labels must be an object of at most {MAX_LABELS} names and values.", field="labels"
        )
    for name, value in labels.items():
        check(name, value)
