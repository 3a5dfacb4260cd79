"""Which programs run."""

from collections.abc import Iterable

import psutil


def read() -> frozenset[str]:
    return names(_name(process) for process in psutil.process_iter())


def names(raw: Iterable[str]) -> frozenset[str]:
    """As rules name them: lower case, without .exe."""
    return frozenset(name.lower().removesuffix(".exe") for name in raw if name)


def _name(process: psutil.Process) -> str:
    """Empty for one that has ended meanwhile or may not be looked at."""
    try:
        return process.name()
    except (psutil.Error, OSError):
        return ""
