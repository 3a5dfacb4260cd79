"""What a job's specification sets apart from the defaults, in the words of the form."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from fl_server.schema_fields import VALUE_LABELS, label_of
from fl_server.spec import JobSpec

# The facts at the top of a page have these.
SHOWN = frozenset(
    {
        "version",
        "model",
        "dataset",
        "strategy",
        "rounds",
        "partition.scheme",
        "partition.options",
        "training.epochs",
        "training.batch_size",
        "training.optimizer",
        "training.learning_rate",
    }
)
GENERAL = "General"


class Group(NamedTuple):
    title: str
    lines: list[tuple[str, str]]


def changed(document: Mapping[str, Any]) -> list[Group]:
    """Groups with what differs from the default; a stored document may lack what came later."""
    general, groups = Group(GENERAL, []), []
    for name, field in JobSpec.model_fields.items():
        value = document.get(name)
        if name in SHOWN or value is None:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            groups.append(Group(_title(name), list(_lines(name, field.annotation, value))))
        elif value != field.default:
            general.lines.append((label_of(name), _said(value)))
    return [group for group in (general, *groups) if group.lines]


def _lines(part: str, model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        value = values.get(name)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        empty = value is None or value in ([], {}, "")
        if empty or f"{part}.{name}" in SHOWN or value == default:
            continue
        yield label_of(name), _said(value)


def _title(part: str) -> str:
    return part.replace("_", " ").capitalize()


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_said(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return VALUE_LABELS.get(str(value), str(value))
