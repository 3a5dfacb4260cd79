"""NVIDIA GPUs: what *other* programs do on them, and how they feel."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fl_client import hardware
from fl_client.policy.facts import GpuFacts
from fl_client.senses.sense import Unknown

# Shares of the load of each process are asked for over so long a time.
WINDOW_SECONDS = 2.0


@dataclass(frozen=True)
class Gpu:
    facts: GpuFacts
    driver: str = ""
    power_watts: float | None = None
    load: float | None = None  # per cent, by all programs


@dataclass(frozen=True)
class Said:
    """What the driver said about one GPU; None where it does not know."""

    temperature: int | None = None
    milliwatts: int | None = None
    load: int | None = None  # per cent, by all programs
    # Of each process: memory in bytes (Windows does not tell it), and load in per cent.
    memory: Mapping[int, int | None] | None = None
    loads: Sequence[tuple[int, int]] | None = None


def read(ours: Collection[int], *, clock: Callable[[], float] = time.time) -> tuple[Gpu, ...]:
    nvml = hardware.nvml()
    found = hardware.gpus()
    if nvml is None or not found:
        raise Unknown("there is no NVIDIA driver here, or no GPU")
    driver = str(_ask(nvml, nvml.nvmlSystemGetDriverVersion) or "")
    since = int((clock() - WINDOW_SECONDS) * 1e6)
    return tuple(
        gpu(index, each, _said(nvml, index, since), frozenset(ours), driver)
        for index, each in enumerate(found)
    )


def gpu(index: int, basic: Mapping[str, Any], said: Said, ours: Collection[int], driver: str = "") -> Gpu:
    """`basic` is an entry of `hardware.gpus()`."""
    facts = GpuFacts(
        index=index,
        name=basic["name"],
        total_bytes=basic["total_bytes"],
        free_bytes=basic["free_bytes"],
        load_by_others=load_by_others(said, ours),
        memory_by_others_bytes=memory_by_others(said, ours, basic["total_bytes"] - basic["free_bytes"]),
        temperature=said.temperature,
    )
    watts = None if said.milliwatts is None else said.milliwatts / 1000
    return Gpu(facts, driver, watts, said.load)


def load_by_others(said: Said, ours: Collection[int]) -> float | None:
    if said.loads is not None:
        return float(min(100, sum(load for pid, load in said.loads if pid not in ours)))
    if said.load is None or said.memory is None:
        return None
    if any(pid in ours for pid in said.memory):
        # Ours and theirs in one number cannot be told apart, unless nobody else is there.
        return None if any(pid not in ours for pid in said.memory) else 0.0
    return float(said.load)


def memory_by_others(said: Said, ours: Collection[int], used: int) -> int | None:
    if said.memory is None:
        return None
    others = [size for pid, size in said.memory.items() if pid not in ours]
    known = [size for size in others if size is not None]
    if len(known) == len(others):
        return sum(known)
    # Windows tells only the sum of all; it is theirs alone when none of ours is there.
    return None if any(pid in ours for pid in said.memory) else used


def _said(nvml: Any, index: int, since: int) -> Said:
    handle = _ask(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return Said()
    rates = _ask(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    return Said(
        temperature=_ask(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        milliwatts=_ask(nvml, nvml.nvmlDeviceGetPowerUsage, handle),
        load=None if rates is None else int(rates.gpu),
        memory=_memory(nvml, handle),
        loads=_loads(nvml, handle, since),
    )


def _memory(nvml: Any, handle: Any) -> dict[int, int | None] | None:
    compute = _ask(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle)
    graphics = _ask(nvml, nvml.nvmlDeviceGetGraphicsRunningProcesses, handle)
    if compute is None and graphics is None:
        return None
    # A program that computes and draws stands in both lists with the same memory.
    return {int(each.pid): each.usedGpuMemory for each in (*(compute or ()), *(graphics or ()))}


def _loads(nvml: Any, handle: Any, since: int) -> list[tuple[int, int]] | None:
    try:
        samples = nvml.nvmlDeviceGetProcessUtilization(handle, since)
    except nvml.NVMLError_NotFound:
        return []  # no process did anything
    except nvml.NVMLError:
        return None
    return latest((int(each.pid), int(each.timeStamp), int(each.smUtil)) for each in samples)


def latest(samples: Iterable[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Of (process, time, load) the last load of each process; unused places hold zeros or worse."""
    by_process = {
        pid: load for pid, _, load in sorted(samples, key=lambda each: each[1]) if pid and 0 <= load <= 100
    }
    return sorted(by_process.items())


def _ask(nvml: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """None where this GPU or this driver does not know."""
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None
