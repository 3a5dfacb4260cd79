"""Rows that never leave this machine: where they lie is kept here, only counts are told to the platform."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fl_client import home as files
from fl_client.home import Home
from fl_client.link_errors import BadInput
from fl_client.private_kinds import KINDS, Counted

NAME = re.compile("[a-z0-9][a-z0-9-]{0,39}")
# What the platform takes.
MOST_SETS, MOST_COLUMNS, MOST_CLASSES, LONGEST_NAME = 50, 500, 1000, 80


@dataclass(frozen=True)
class PrivateData:
    name: str
    kind: str
    path: str  # never told
    label: str = ""  # the column that says which class a row is
    columns: tuple[str, ...] = ()
    rows: int = 0
    classes: dict[str, int] = field(default_factory=dict)

    def as_message(self) -> dict[str, Any]:
        """All that the platform learns."""
        return {
            "name": self.name,
            "kind": self.kind,
            "columns": list(self.columns),
            "rows": self.rows,
            "classes": self.classes,
        }


def inspect(name: str, path: Path, kind: str, label: str = "") -> PrivateData:
    """Count what is there; nothing is stored yet. Reads every row once."""
    if not NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name for data: small letters, digits and dashes, at most 40.")
    if kind not in KINDS:
        raise BadInput(f"{kind!r} is no kind of data; there are {', '.join(KINDS)}.")
    path = path.expanduser().absolute()
    if not path.exists():
        raise BadInput(f"{path} does not exist.")
    counted = KINDS[kind](path, label)
    _check(counted, path)
    return PrivateData(name, kind, str(path), label, counted.columns, counted.rows, counted.classes)


def registered(home: Home) -> tuple[PrivateData, ...]:
    data = home.read(files.DATA)
    if data is None:
        return ()
    try:
        return tuple(PrivateData(**{**item, "columns": tuple(item["columns"])}) for item in json.loads(data))
    except (ValueError, TypeError, KeyError) as exc:
        raise BadInput(f"{home.file(files.DATA)} is damaged; remove it and add your data again.") from exc


def add(home: Home, data: PrivateData) -> None:
    """Register what the owner agreed to. The same name again replaces what it stood for."""
    others = [known for known in registered(home) if known.name != data.name]
    if len(others) >= MOST_SETS:
        raise BadInput(f"There are {len(others)} sets of data; more than {MOST_SETS} are not possible.")
    _save(home, [*others, data])


def remove(home: Home, name: str) -> None:
    """Withdraw it. The rows stay where they are."""
    known = registered(home)
    if name not in {data.name for data in known}:
        raise BadInput(f"There is no data named {name!r}; see: constellation data list")
    _save(home, [data for data in known if data.name != name])


def explained(data: PrivateData) -> str:
    """What the platform will learn, for the owner to agree to."""
    lines = [
        "The platform will learn this and nothing else:",
        f"  name     {data.name}",
        f"  kind     {data.kind}",
        f"  rows     {data.rows}",
    ]
    if data.columns:
        lines.append(f"  columns  {', '.join(data.columns)}")
    if data.classes:
        counts = ", ".join(f"{name}: {count}" for name, count in data.classes.items())
        lines.append(f"  classes  {counts}")
    lines += [
        f"The rows in {data.path} never leave this machine, and the platform does not learn where they are.",
        "Jobs may train on them; what leaves then is a model's weights.",
    ]
    return "\n".join(lines)


def _check(counted: Counted, path: Path) -> None:
    if not counted.rows:
        raise BadInput(f"{path} holds no rows.")
    if len(counted.columns) > MOST_COLUMNS:
        raise BadInput(f"{path} has {len(counted.columns)} columns; at most {MOST_COLUMNS} are possible.")
    if len(counted.classes) > MOST_CLASSES:
        raise BadInput(
            f"{path} has {len(counted.classes)} classes; at most {MOST_CLASSES} are possible. "
            "Is the label column the right one?"
        )
    long = next((name for name in (*counted.columns, *counted.classes) if len(name) > LONGEST_NAME), None)
    if long is not None:
        raise BadInput(f"A name in {path} is too long ({LONGEST_NAME} characters at most): {long[:40]}…")


def _save(home: Home, items: Sequence[PrivateData]) -> None:
    stored = [asdict(item) for item in sorted(items, key=lambda item: item.name)]
    home.write(files.DATA, json.dumps(stored, indent=2).encode())
