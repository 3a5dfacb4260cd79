"""What placement knows of a device, and what a job asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from packaging.version import InvalidVersion, Version

from fl_server import spec

GB = 1e9
FAMILIES = {"linux": "linux", "macos": "macos", "darwin": "macos", "windows": "windows"}


class Gpu(NamedTuple):
    total_bytes: int
    free_bytes: int


# Compared by identity: thousands are kept in sets, and some fields cannot be hashed. Not frozen, although
# none is ever changed: a look at the queue makes thousands, and a frozen one takes ten times as long.
@dataclass(eq=False, slots=True)
class DeviceFacts:
    """One device at one moment. None and empty lists mean that nobody has measured it."""

    pk: Any
    name: str = ""
    owner_id: int = 0
    status: str = "approved"
    node_id: str = ""
    online: bool = False
    may_start: bool = True
    decision_codes: tuple[str, ...] = ()
    reserved: bool = False
    quarantined: bool = False
    cores: int = 0
    ram_bytes: int = 0
    free_ram_bytes: int | None = None
    gpus: tuple[Gpu, ...] = ()
    labels: dict[str, str] | None = None
    platform: str = ""
    """linux, macos, windows, or empty where unknown"""
    client_version: str = ""
    private_data: frozenset[str] = frozenset()
    relative_speed: float | None = None
    network: float | None = None
    """bytes a second"""
    reputation: float = 1.0
    key: str = ""
    """`pk` as the database writes it"""
    # The last six are what `standing` adds.
    free_hours: Sequence[float] | Mapping[int, float] = ()
    """how often it was free, by hour of the week (UTC, from Monday), as far as it was read"""
    recent_work: float = 0.0
    """seconds of accepted work in the last seven days"""
    partition: int | None = None
    """that this job dealt it last"""
    rounds_done: int = 0
    """of this job, with that partition, by whichever device"""
    interrupted: bool = False
    """a fault of ours took it out of this job's last run"""
    troubled: bool = False
    """it could do nothing for this job before"""


_BEFORE_STANDING = attrgetter(*[one.name for one in fields(DeviceFacts)][:-6])


def standing(
    device: DeviceFacts,
    free_hours: Sequence[float] | Mapping[int, float],
    recent_work: float,
    partition: int | None,
    rounds_done: int,
    interrupted: bool,
    troubled: bool,
) -> DeviceFacts:
    """The same device with what only the choice among fitting ones asks."""
    added = (free_hours, recent_work, partition, rounds_done, interrupted, troubled)
    values: tuple[Any, ...] = (*_BEFORE_STANDING(device), *added)
    return DeviceFacts(*values)


@dataclass(frozen=True)
class Demand:
    """What a job asks of devices, and of how many."""

    needed: int = 1
    selected: int = 1
    gpu: bool = False
    gpu_bytes: float = 0.0
    ram_bytes: float = 0.0
    memory_bytes: float = 0.0
    cores: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    platforms: tuple[str, ...] = ()
    client_version: str = ""
    private_data: str = ""
    round_seconds: float | None = None


def demand(
    wanted: spec.JobSpec, memory_bytes: int | None = None, round_seconds: float | None = None
) -> Demand:
    """`memory_bytes` is an estimate; what the specification says itself goes before it."""
    needs = wanted.requirements
    memory = needs.memory_gb * GB if needs.memory_gb is not None else float(memory_bytes or 0)
    return Demand(
        needed=wanted.participation.min_devices,
        selected=wanted.participation.selected,
        gpu=needs.gpu or needs.min_gpu_memory_gb > 0,
        gpu_bytes=needs.min_gpu_memory_gb * GB,
        ram_bytes=needs.min_ram_gb * GB,
        memory_bytes=memory,
        cores=needs.min_cores,
        labels=tuple(sorted(needs.labels.items())),
        platforms=needs.platforms,
        client_version=needs.min_client_version,
        private_data=needs.private_data,
        round_seconds=round_seconds,
    )


@lru_cache(maxsize=1024)
def family(platform: str) -> str:
    """Of what a client says of its platform, for example Linux-6.8-x86_64."""
    word = platform.lower().replace("-", " ").split(" ", 1)[0]
    return FAMILIES.get(word, "")


@lru_cache(maxsize=1024)
def older(version: str, than: str) -> bool:
    """Whether a client is older than a version. One that cannot say how old it is counts as older."""
    try:
        return Version(version) < Version(than)
    except InvalidVersion:
        return True
