"""The numbers that a device measures, and what many of them come to. Pure: no database."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fl_server.device_messages import Telemetry

Numbers = dict[str, float]

# What is kept of a sample; of each GPU as `gpu0.load` and so on.
OF_MACHINE = (
    "cpu",
    "cpu_by_others",
    "ram_free_bytes",
    "disk_free_bytes",
    "disk_total_bytes",
    "received_bytes_a_second",
    "sent_bytes_a_second",
    "battery",
    "temperature",
)
OF_GPU = ("load", "free_bytes", "watts", "temperature")


@dataclass(frozen=True)
class Summary:
    """Of some samples: how many, and of each number mean, highest and lowest."""

    count: int
    means: Numbers
    highest: Numbers
    lowest: Numbers


def numbers(said: Telemetry) -> Numbers:
    """What the machine could tell; what it could not is left out."""
    found = {name: getattr(said, name) for name in OF_MACHINE}
    for index, gpu in enumerate(said.gpus):
        found |= {f"gpu{index}.{name}": getattr(gpu, name) for name in OF_GPU}
    return {name: value for name, value in found.items() if value is not None}


def summary(samples: list[Numbers]) -> Summary:
    return merged(Summary(1, sample, sample, sample) for sample in samples)


def merged(summaries: Iterable[Summary]) -> Summary:
    """The summary of all their samples. A summary without a number does not count for it."""
    count = 0
    weights: Numbers = {}
    sums: Numbers = {}
    highest: Numbers = {}
    lowest: Numbers = {}
    for one in summaries:
        count += one.count
        for name, mean in one.means.items():
            weights[name] = weights.get(name, 0) + one.count
            sums[name] = sums.get(name, 0.0) + mean * one.count
            highest[name] = max(highest.get(name, one.highest[name]), one.highest[name])
            lowest[name] = min(lowest.get(name, one.lowest[name]), one.lowest[name])
    return Summary(count, {name: _short(sums[name] / weights[name]) for name in sums}, highest, lowest)


def in_columns(samples: list[tuple[float, Numbers]]) -> dict[str, list[Any]]:
    """Samples with their seconds since the minute began: each name is written once, not with every sample."""
    names = sorted({name for _, sample in samples for name in sample})
    columns: dict[str, list[Any]] = {"at": [round(at, 1) for at, _ in samples]}
    return columns | {name: [sample.get(name) for _, sample in samples] for name in names}


def from_columns(columns: dict[str, list[Any]]) -> list[tuple[float, Numbers]]:
    """What `in_columns` wrote."""
    rest = {name: values for name, values in columns.items() if name != "at"}
    return [
        (at, {name: values[place] for name, values in rest.items() if values[place] is not None})
        for place, at in enumerate(columns["at"])
    ]


def _short(value: float) -> float:
    """Two decimals are more than any of these sensors knows; of bytes, none."""
    return round(value, 2) if abs(value) < 1e6 else round(value)
