"""What one system did with one job."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench import plain, workload
from bench.relay import Relay
from bench.sampler import Sampler
from bench.workload import NUDGE, Job

SERVER = "server"


@dataclass
class Result:
    system: str
    job: Job
    starts: list[float]
    end: float
    submitted: float | None = None
    cpu_per_client_round: float | None = None
    bytes_per_client_round: float | None = None
    server_peak: int | None = None
    client_peak: int | None = None
    accuracy: float | None = None
    periods: list[float] = field(init=False)

    def __post_init__(self) -> None:
        later = zip(self.starts[1:], self.starts[2:], strict=False)
        self.periods = [end - start for start, end in later]

    @property
    def seconds(self) -> float:
        """Median from the start of a round to the start of the next, without the first round."""
        return statistics.median(self.periods)

    @property
    def submit_seconds(self) -> float | None:
        return None if self.submitted is None else self.end - self.submitted

    def measure(self, sampler: Sampler, relay: Relay | None) -> None:
        """Take what was counted from the start of round 2 to the start of the last one."""
        start, end = self.starts[1], self.starts[-1]
        client_rounds = self.job.nodes * len(self.periods)
        self.cpu_per_client_round = sampler.cpu_between(start, end) / client_rounds
        if relay:
            self.bytes_per_client_round = relay.between(start, end) / client_rounds
        self.server_peak = sampler.peaks.get(SERVER)
        self.client_peak = max((size for role, size in sampler.peaks.items() if role != SERVER), default=None)

    def add_weights(self, other: "Result") -> None:
        """What only the weighing run could tell."""
        self.bytes_per_client_round = other.bytes_per_client_round
        self.server_peak, self.client_peak = other.server_peak, other.client_peak


def judge(folder: Path, job: Job, final: dict[str, np.ndarray]) -> float:
    """Accuracy on the test rows; of a model that only travels, the share of numbers that came out right."""
    initial = workload.arrays(folder / "initial.npz")
    if job.workload.learns:
        module = plain.build(job.workload.model, {name: final[name] for name in initial})
        return plain.accuracy(module, *plain.rows(folder, "test"))
    expected = {name: array + job.rounds * NUDGE for name, array in initial.items()}
    right = [np.isclose(final[name], wanted, rtol=0, atol=1e-5) for name, wanted in expected.items()]
    return float(np.mean(np.concatenate(right)))
