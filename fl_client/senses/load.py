"""What *other* programs do to the processor, and who has the memory."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SMOOTHING_SECONDS = 10.0
NOT_BUSY = ("idle", "iowait", "steal")  # steal is what other virtual machines took
COUNTED_TWICE = ("guest", "guest_nice")  # Linux counts them within user and nice, too


@dataclass(frozen=True)
class Sample:
    """Counters that only grow. All but `at` in seconds of one processor core."""

    at: float
    busy: float
    total: float
    ours: Mapping[int, float] = field(default_factory=dict)  # by process id


class OtherLoad:
    """The load by other programs in per cent of the machine, smoothed: a spike of a second hardly shows.

    An exponential average with a time constant tau: after a step of the load, it has come 63 % of the way in
    tau seconds. With tau = 0 it is the load between the last two samples.
    """

    def __init__(self, seconds: float = SMOOTHING_SECONDS) -> None:
        self._seconds = seconds
        self._last: Sample | None = None
        self._load: float | None = None

    def feed(self, sample: Sample) -> float | None:
        """None after the first sample, which has nothing to be compared with."""
        before, self._last = self._last, sample
        if before is None or sample.total <= before.total:
            return self._load
        others = max(0.0, sample.busy - before.busy - our_seconds(before.ours, sample.ours))
        load = min(100.0, 100 * others / (sample.total - before.total))
        if self._load is None or self._seconds <= 0:
            self._load = load
        else:
            weight = 1 - math.exp(-max(0.0, sample.at - before.at) / self._seconds)
            self._load += weight * (load - self._load)
        return self._load


def our_seconds(before: Mapping[int, float], now: Mapping[int, float]) -> float:
    """What our processes used in between. One that is new was started in between, and all it used counts."""
    used = 0.0
    for pid, seconds in now.items():
        earlier = before.get(pid, 0.0)
        # Fewer seconds than before: another process got the number of one that ended.
        used += seconds - earlier if seconds >= earlier else seconds
    return used


def sample(pids: Iterable[int], now: float) -> Sample:
    times = psutil.cpu_times()._asdict()
    total = sum(seconds for name, seconds in times.items() if name not in COUNTED_TWICE)
    busy = total - sum(times.get(name, 0.0) for name in NOT_BUSY)
    return Sample(
        now, busy, total, {pid: seconds for pid in pids if (seconds := _cpu_seconds(pid)) is not None}
    )


def _cpu_seconds(pid: int) -> float | None:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return times.user + times.system


@dataclass(frozen=True)
class Memory:
    total_bytes: int = 0
    available_bytes: int = 0


def memory() -> Memory:
    now = psutil.virtual_memory()
    return Memory(now.total, now.available)


def our_memory(pids: Iterable[int]) -> int:
    """What our processes hold. On Linux memory they share counts once, elsewhere in each of them."""
    return sum(_held(pid) for pid in pids)


def _held(pid: int) -> int:
    try:
        return proportional(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except (OSError, ValueError):
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def proportional(rollup: str) -> int:
    """The proportional share of memory out of Linux's smaps_rollup, which counts in units of 1024 bytes."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Pss in smaps_rollup")
