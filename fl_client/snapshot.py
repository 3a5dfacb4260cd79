"""How far a round has come, on disk, so that it can go on in another process or be handed in as it is.

One safetensors file: the model's tensors as "model/<name>", everything else that the training needs as
"state/<name>", the numbers as JSON in the file's metadata. Reading the weights needs no torch.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fl_client.errors import SnapshotError

Arrays = dict[str, np.ndarray[Any, Any]]
MODEL, STATE, HEAD = "model/", "state/", "snapshot"


@dataclass(frozen=True)
class Head:
    """`done` of `batches` are behind; `examples` is the weight that this much work may claim."""

    run: int
    round: int
    fence: int
    done: int
    batches: int
    examples: int
    seconds: float  # spent in training so far
    metrics: dict[str, float]


@dataclass(frozen=True)
class Snapshot:
    head: Head
    weights: Arrays
    state: Arrays

    def write(self, path: Path) -> None:
        """Replace the file as a whole. It need not outlive the machine, so nothing waits for the disk."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}")
        tensors = {**_named(MODEL, self.weights), **_named(STATE, self.state)}
        save_file(tensors, str(draft), {HEAD: json.dumps(asdict(self.head))})
        draft.chmod(0o600)
        os.replace(draft, path)


def read_head(path: Path) -> Head | None:
    """None where there is no file."""
    if not path.exists():
        return None
    with _opened(path) as file:
        return _head(file)


def read(path: Path) -> Snapshot:
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        return Snapshot(_head(file), _within(MODEL, tensors), _within(STATE, tensors))


def _opened(path: Path) -> Any:
    try:
        return safe_open(str(path), framework="numpy")
    except (OSError, SafetensorError) as error:
        raise SnapshotError(f"{path} cannot be read: {error}") from error


def _head(file: Any) -> Head:
    try:
        said = json.loads((file.metadata() or {})[HEAD])
        return Head(**{field.name: said[field.name] for field in fields(Head)})
    except (KeyError, ValueError, TypeError) as error:
        raise SnapshotError(f"A snapshot's head cannot be read: {error}") from error


def _named(prefix: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
    # safetensors writes the memory behind an array as it lies, so a strided view would be written wrongly.
    return {prefix + name: a if a.flags.c_contiguous else a.copy() for name, a in arrays.items()}


def _within(prefix: str, tensors: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
