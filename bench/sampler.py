"""CPU time and memory of process trees, by role."""

import bisect
import threading
import time
from collections import defaultdict

import psutil

CPU_PERIOD = 0.2  # seconds
# Reading the shares of shared pages makes the kernel walk every page: too dear beside a measurement of time.
WEIGHING_PERIOD = 0.5


class Sampler(threading.Thread):
    """Follows the trees below the processes that it is told of, even when a middle process has gone.

    A process loses what it used after its last sample, a fifth of a second at most. Memory is read when
    `weigh` is set: the proportional set size, which divides shared pages among those who share them.
    """

    def __init__(self, *, weigh: bool) -> None:
        super().__init__(name="sampler", daemon=True)
        self.peaks: dict[str, int] = {}
        self._weigh = weigh
        self._lock = threading.Lock()
        self._roots: list[tuple[str, psutil.Process]] = []
        self._seen: dict[psutil.Process, str] = {}
        self._cpu: dict[psutil.Process, float] = {}
        self._times: list[float] = []
        self._totals: list[float] = []
        self._done = threading.Event()

    def follow(self, role: str, pid: int) -> None:
        with self._lock:
            self._roots.append((role, psutil.Process(pid)))

    def run(self) -> None:
        while not self._done.wait(WEIGHING_PERIOD if self._weigh else CPU_PERIOD):
            self.sample()

    def stop(self) -> None:
        self._done.set()
        self.join(5.0)

    def sample(self) -> None:
        with self._lock:
            self._discover()
            memory: dict[str, int] = defaultdict(int)
            for process, role in self._seen.items():
                try:
                    used = process.cpu_times()
                    self._cpu[process] = used.user + used.system
                    if self._weigh:
                        memory[role] += process.memory_full_info().pss
                except psutil.Error:
                    continue
            for role, size in memory.items():
                self.peaks[role] = max(size, self.peaks.get(role, 0))
            self._times.append(time.time())
            self._totals.append(sum(self._cpu.values()))

    def _discover(self) -> None:
        for role, root in self._roots:
            self._seen.setdefault(root, role)
        roles = {process.pid: role for process, role in self._seen.items()}
        # A parent mostly has the lower number; where it has not, the next sample finds the child.
        for process in psutil.process_iter(["ppid"]):
            if role := roles.get(process.info["ppid"]):
                roles[process.pid] = self._seen.setdefault(process, role)

    def processes(self) -> list[psutil.Process]:
        """Everything that was followed and may still live."""
        with self._lock:
            return list(self._seen)

    def cpu_between(self, start: float, end: float) -> float:
        """CPU seconds of everything followed, by interpolation between samples."""
        return _at(self._times, self._totals, end) - _at(self._times, self._totals, start)


def _at(times: list[float], values: list[float], moment: float) -> float:
    index = bisect.bisect(times, moment)
    if index in (0, len(times)):
        return values[min(index, len(times) - 1)]
    share = (moment - times[index - 1]) / (times[index] - times[index - 1])
    return values[index - 1] + share * (values[index] - values[index - 1])
