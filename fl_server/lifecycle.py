"""The only way a status changes.

A model that has a lifecycle carries `Status`, `TRANSITIONS` and named sets of statuses beside the field.
"""

from typing import Any, TypeVar

from django.db import models
from django.db.models import Q

from fl_server.exceptions import Conflict

M = TypeVar("M", bound=models.Model)


def sources(model: type[models.Model], to: str) -> list[str]:
    """The statuses from which `to` may be reached."""
    return [source for source, targets in model.TRANSITIONS.items() if to in targets]


def try_advance(obj: M, to: str, *, only_if: Q | None = None, **fields: Any) -> bool:
    """Move `obj` to `to` unless somebody else moved it first; `fields` change in the same UPDATE.

    `only_if` names what must still hold at that moment, beside the status.

    The database decides: a conditional UPDATE whose row count tells the winner. True means it was us, and
    `obj` carries the new values.
    """
    model = type(obj)
    movable = model._default_manager.filter(only_if or Q(), pk=obj.pk, status__in=sources(model, to))
    changed = movable.update(status=to, **fields)
    if changed:
        obj.status = to
        for name, value in fields.items():
            setattr(obj, name, value)
    return bool(changed)


def advance(obj: M, to: str, **fields: Any) -> M:
    """Like `try_advance`, but losing is a Conflict."""
    if not try_advance(obj, to, **fields):
        obj.refresh_from_db(fields=["status"])
        allowed = ", ".join(sorted(obj.TRANSITIONS.get(obj.status, ()))) or "nothing, it has ended"
        raise Conflict(f"{obj} is {obj.status} and cannot become {to}; from here it may become {allowed}.")
    return obj
