"""The settings that the training process reads from its environment, in one place."""

import os
from pathlib import Path


def data_folder() -> Path | None:
    """The folder with the company's own copies of public datasets, one sub-folder for each."""
    value = os.environ.get("CONSTELLATION_DATA")
    return Path(value) if value else None


def cache_folder() -> Path:
    """Where downloads are kept."""
    value = os.environ.get("CONSTELLATION_CACHE")
    return Path(value) if value else Path.home() / ".cache" / "constellation"


def threads() -> int:
    """How many threads training may use: half the cores unless told otherwise."""
    value = os.environ.get("CONSTELLATION_THREADS")
    if not value:
        return max(1, (os.cpu_count() or 1) // 2)
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"CONSTELLATION_THREADS must be a whole number from 1 on, not {value!r}")
    return int(value)


def nice() -> int:
    """How much the training gives way to other programs: 0 to 19."""
    return _whole("CONSTELLATION_NICE", 19)


def gpu_free_bytes() -> int:
    """Memory to leave to others on each GPU."""
    return _whole("CONSTELLATION_GPU_FREE_BYTES", 2**53)


def _whole(name: str, most: int) -> int:
    value = os.environ.get(name) or "0"
    if not value.isdecimal() or int(value) > most:
        raise ValueError(f"{name} must be a whole number from 0 to {most}, not {value!r}")
    return int(value)


def device() -> str | None:
    """The device to train on ("cpu", "cuda:0", "mps") where the owner insists on one."""
    return os.environ.get("CONSTELLATION_DEVICE") or None
