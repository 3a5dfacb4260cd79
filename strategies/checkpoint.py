"""Models and server state on disk, and how a strategy's state leaves and enters it.

A checkpoint appears whole or not at all: it is written under a temporary name, flushed to the disk, renamed,
and its folder flushed. A resumed run equals an uninterrupted one if it restores the model, the strategy's
state and the round number; no strategy in the catalogue draws random numbers.
"""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import FedAvgM, Strategy
from flwr.serverapp.strategy.fedopt import FedOpt

from strategies.document import Arrays
from strategies.exceptions import CheckpointError, DiskFull

# No space, the quota is used up, the file is larger than this process may write.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Written(NamedTuple):
    sha256: str
    size: int


def model_path(job: int, run: int, round: int) -> str:
    """Where a round's model lies below the checkpoint folder; names sort by age."""
    return f"job-{job:06d}/run-{run:04d}-round-{round:06d}.safetensors"


def state_path(model_path: str) -> str:
    """Where the strategy's own state after a round lies, beside the model."""
    return model_path.removesuffix(".safetensors") + ".state.safetensors"


def write(path: Path, data: bytes) -> Written:
    """Put data at path atomically and durably, making its folder if needed.

    Raises DiskFull, and leaves nothing behind, where there is no room for it.
    """
    try:
        with begun(path) as file:
            file.write(data)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DiskFull(f"{path.name} ({len(data)} bytes) does not fit the disk: {error.strerror}") from error
    return Written(hashlib.sha256(data).hexdigest(), len(data))


@contextmanager
def begun(path: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name that is at path once the block has ended well, and else nowhere."""
    folder = path.parent
    new_folder = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if new_folder:
        _flush_folder(folder.parent)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _flush_folder(folder)


def read(path: Path, sha256: str) -> bytes:
    """The bytes at path, or CheckpointError if they are not those that were written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise CheckpointError(f"{path.name} has sha256 {found}, {sha256} was written")
    return data


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def state_of(strategy: Strategy) -> Arrays:
    """What an inner strategy carries from round to round, as named arrays; {} for a stateless one.

    Names are "<attribute>/<tensor>". FedOpt's m_t and v_t have the tensors' shapes; FedAvgM keeps the model
    it stepped from beside its momentum, because it never looks at the model it is handed again.
    """
    if isinstance(strategy, FedOpt):
        return _named("m_t", strategy.m_t or {}) | _named("v_t", strategy.v_t or {})
    if isinstance(strategy, FedAvgM) and strategy.current_arrays is not None:
        current = {name: array.numpy() for name, array in strategy.current_arrays.items()}
        momentum = strategy.momentum_vector
        state = _named("current_arrays", current)
        if momentum is not None:
            state |= _named("momentum_vector", dict(zip(current, momentum, strict=True)))
        return state
    return {}


def restore_state(strategy: Strategy, state: Mapping[str, npt.NDArray[Any]]) -> None:
    """Give a freshly built strategy the state that state_of() returned for its predecessor.

    FedAvgM pairs tensors by position: its state comes back in the order of the names, which is the order in
    which FederatedStrategy hands tensors to an inner strategy.
    """
    parts: dict[str, Arrays] = {}
    for key in sorted(state):
        attribute, _, name = key.partition("/")
        parts.setdefault(attribute, {})[name] = state[key]
    if isinstance(strategy, FedOpt):
        _expect(parts, ("m_t", "v_t"), strategy)
        strategy.m_t = parts.get("m_t")
        strategy.v_t = parts.get("v_t")
    elif isinstance(strategy, FedAvgM):
        _expect(parts, ("current_arrays", "momentum_vector"), strategy)
        current, momentum = parts.get("current_arrays"), parts.get("momentum_vector")
        if momentum is not None and momentum.keys() != (current or {}).keys():
            raise CheckpointError("the momentum in the state does not belong to its model")
        strategy.current_arrays = None if current is None else _record(current)
        strategy.momentum_vector = None if momentum is None else list(momentum.values())
    else:
        _expect(parts, (), strategy)


def _named(attribute: str, arrays: Mapping[str, Any]) -> Arrays:
    # the strategies' arithmetic turns 0-d arrays into numpy scalars
    return {f"{attribute}/{name}": np.asarray(array) for name, array in arrays.items()}


def _record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def _expect(parts: Iterable[str], known: tuple[str, ...], strategy: Strategy) -> None:
    foreign = sorted(set(parts) - set(known))
    if foreign:
        raise CheckpointError(f"{type(strategy).__name__} has no state called {', '.join(foreign)}")
