"""Checkpoint files as they lie on the disk: whole, in float16, or as what they differ by from another one.

Knows files only; which file belongs to which checkpoint, and which may go, is the services' business. What
needs the engine's library is imported where it is used: the web process reads checkpoints too.
"""

import hashlib
import mmap
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from strategies import deltas, distance
from strategies.document import Arrays, pack
from strategies.exceptions import CheckpointError, StrategyError
from strategies.narrow import narrow, widen

# What callers handle; the services themselves know nothing of strategies.
Damaged = StrategyError
Distance = distance.Distance
LayoutsDiffer = distance.LayoutsDiffer

WHOLE = ".safetensors"
DELTA = re.compile(r"\.from-\d{6,}\.delta$")
FLOAT16 = ".float16.safetensors"
BLOCK = 1 << 20


def whole_path(path: str) -> str:
    """The path that a checkpoint had before it was stored in another way."""
    if path.endswith(FLOAT16):
        return path.removesuffix(FLOAT16) + WHOLE
    return DELTA.sub("", path)


def delta_path(path: str, base_round: int) -> str:
    """Names its base, so that the same path always holds the same bytes, whoever wrote it."""
    return f"{path}.from-{base_round:06d}.delta"


def float16_path(path: str) -> str:
    return path.removesuffix(WHOLE) + FLOAT16


def state_path(path: str) -> str:
    """Where the strategy's own state lies, however the model beside it is stored."""
    from strategies import checkpoint

    return checkpoint.state_path(whole_path(path))


def restored(base: Path, delta: Path, sha256: str) -> IO[bytes]:
    """A nameless file with what the delta leads to; CheckpointError if that is not what was stored."""
    out = tempfile.TemporaryFile(dir=delta.parent)  # noqa: SIM115  the caller closes it
    try:
        with base.open("rb") as from_base, delta.open("rb") as from_delta:
            deltas.restore(from_base, from_delta, out)
        check(out, sha256, delta.name)
    except BaseException:
        out.close()
        raise
    return out


def check(file: IO[bytes], sha256: str, name: str) -> None:
    """Raises CheckpointError unless the file is what was written."""
    file.seek(0)
    found = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
    file.seek(0)
    if found != sha256:
        raise CheckpointError(f"{name} has sha256 {found}, {sha256} was written")


def write_delta(base: Path, whole: Path, target: Path, sha256: str) -> int | None:
    """Store whole as a delta once it was seen to lead back; its size, or None where that saves nothing."""
    from strategies import checkpoint

    size = whole.stat().st_size
    try:
        with checkpoint.begun(target) as out:
            with base.open("rb") as from_base, whole.open("rb") as from_whole:
                deltas.write(from_base, from_whole, size, out)
                written = out.tell()
                if written >= size:
                    raise _NothingSaved
                proof = _Digest()
                for file in (from_base, out):
                    file.seek(0)
                deltas.restore(from_base, out, proof)
            if proof.sha256 != sha256:
                raise CheckpointError(f"{whole.name} is not what was written")
    except _NothingSaved:
        return None
    return written


class _NothingSaved(Exception):
    pass


class _Digest:
    """Takes what is written for its digest alone."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def write_float16(whole: Path, target: Path, sha256: str) -> tuple[str, int] | None:
    """Store whole in float16 at target: digest and size, or None where it does not fit or saves nothing."""
    from strategies import checkpoint

    small = narrow(checkpoint.read(whole, sha256))
    if small is None:
        return None
    written = checkpoint.write(target, small)
    return written.sha256, written.size


def document(file: IO[bytes], storage: str) -> bytes:
    """The model as it was when it was trained: of a float16 file in its first types."""
    data = file.read()
    return pack(widen(data)) if storage == "float16" else data


def compare(first: IO[bytes], second: IO[bytes]) -> distance.Distance:
    """How far the second model lies from the first; LayoutsDiffer where they cannot be compared."""
    return distance.between(_mapped(first), _mapped(second))


def _mapped(file: IO[bytes]) -> Arrays:
    """Views on the file itself, so that a large model is not read into memory at once."""
    data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return widen(data)


def remove(root: Path, paths: list[str]) -> int:
    """Delete these files below root; the bytes that this gave back."""
    freed = 0
    for path in paths:
        try:
            freed += os.stat(root / path).st_size
            os.unlink(root / path)
        except FileNotFoundError:
            continue
    return freed


def forgotten(root: Path, before: float, belongs: Callable[[str], bool]) -> list[str]:
    """Files of jobs, temporary ones too, that were last written before then and belong to nobody."""
    found = []
    for folder in sorted(root.glob("job-*")):
        if not folder.is_dir() or folder.is_symlink():
            continue
        for entry in os.scandir(folder):
            path = f"{folder.name}/{entry.name}"
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < before and not belongs(path):
                found.append(path)
    return found
