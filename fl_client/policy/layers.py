"""Several layers of rules become the one that holds: the strictest of each field.

`combine` is associative, commutative and idempotent. What the combination allows, each layer alone allows.
"""

from collections.abc import Callable
from typing import Any, get_args

from fl_client.policy import hours, words
from fl_client.policy.rules import STRICTER, Gpu, Rules, Stricter

_CHOICES: tuple[Gpu, ...] = get_args(Gpu)

# How two values that are both said become one.
_JOIN: dict[Stricter, Callable[[Any, Any], Any]] = {
    Stricter.LARGER: max,
    Stricter.SMALLER: min,
    Stricter.BOTH: lambda one, other: one and other,
    Stricter.EARLIER: lambda one, other: min(one, other, key=_CHOICES.index),
    Stricter.UNION: lambda one, other: (*one, *other),  # the model keeps names in one form
    Stricter.INTERSECTION: lambda one, other: tuple(sorted({*one} & {*other})),
    Stricter.COMMON_HOURS: hours.intersect,
}
_WHAT_BOTH_ALLOW = (Stricter.INTERSECTION, Stricter.COMMON_HOURS)


def combine(*layers: Rules) -> Rules:
    combined = Rules()
    for layer in layers:
        combined = _combine(combined, layer)
    return combined


def loosened(owner: Rules, above: Rules) -> list[str]:
    """One sentence for each field in which the owner would allow more than the layers above: in vain."""
    return [
        f"{words.title(name)}: you say {words.value(yours)}, the rules above you say {words.value(theirs)}; "
        f"{'what both allow' if way in _WHAT_BOTH_ALLOW else 'the stricter'} holds."
        for name, way in STRICTER.items()
        if way is not Stricter.UNION
        and (yours := getattr(owner, name)) is not None
        and (theirs := getattr(above, name)) is not None
        and _strictest(name, yours, theirs) != yours
    ]


def _combine(one: Rules, other: Rules) -> Rules:
    said = {name: _strictest(name, getattr(one, name), getattr(other, name)) for name in STRICTER}
    return Rules(**{**said, **_quiet_times(one, other, said)})


def _strictest(name: str, one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return _JOIN[STRICTER[name]](one, other)


def _quiet_times(one: Rules, other: Rules, said: dict[str, Any]) -> dict[str, int | None]:
    """A layer that names only idle_minutes means it after an interruption, too, and no layer may lose that.

    And a start takes at least as long as going on.
    """
    idle, resume = said["idle_minutes"], said["resume_minutes"]
    if resume is None:
        return {}
    resume = max(
        minutes
        for layer in (one, other)
        for minutes in (layer.idle_minutes if layer.resume_minutes is None else layer.resume_minutes,)
        if minutes is not None
    )
    return {"idle_minutes": None if idle is None else max(idle, resume), "resume_minutes": resume}
