"""How much of the machine training may take."""

from dataclasses import dataclass

from fl_client.policy import limits
from fl_client.policy.facts import Facts, GpuFacts
from fl_client.policy.phrases import GIGABYTE
from fl_client.policy.rules import Rules


@dataclass(frozen=True)
class Resources:
    cores: int
    nice: int
    ram_bytes: int | None  # None: no limit
    gpus: tuple[int, ...]  # the indexes that may be used
    gpu_free_bytes: int  # to leave alone on each of them
    other_gpus: bool = False  # one that no driver numbers, as Apple's or AMD's, may be used


def allotted(facts: Facts, rules: Rules, in_use: bool, lent: tuple[int, ...] = ()) -> Resources:
    """What the rules leave for training; `lent` are the GPUs of the last decision."""
    cores = limits.of_two(rules.cores_share_in_use, rules.cores_share_idle, in_use)
    return Resources(
        cores=max(1, facts.cores * (100 if cores is None else cores) // 100),
        nice=rules.nice or 0,
        ram_bytes=ram_limit(facts, rules, in_use),
        gpus=_gpus(facts, rules, in_use, lent),
        gpu_free_bytes=int((rules.gpu_free_gb or 0) * GIGABYTE),
        other_gpus=not facts.gpus and _may_use_gpus(rules, in_use) and rules.gpu_allow is None,
    )


def ram_limit(facts: Facts, rules: Rules, in_use: bool) -> int | None:
    share = limits.of_two(rules.ram_share_in_use, rules.ram_share_idle, in_use)
    if share is None or not facts.ram_total_bytes:
        return None
    return facts.ram_total_bytes * share // 100


def _gpus(facts: Facts, rules: Rules, in_use: bool, lent: tuple[int, ...]) -> tuple[int, ...]:
    if not _may_use_gpus(rules, in_use):
        return ()
    return tuple(gpu.index for gpu in facts.gpus if _is_usable(gpu, rules, gpu.index in lent))


def _may_use_gpus(rules: Rules, in_use: bool) -> bool:
    return not (rules.gpu == "never" or (rules.gpu == "idle" and in_use))


def _is_usable(gpu: GpuFacts, rules: Rules, lent: bool) -> bool:
    if rules.gpu_allow is not None and gpu.index not in rules.gpu_allow:
        return False
    return not (
        _exceeds("other_gpu", gpu.load_by_others, rules.other_gpu, lent)
        or _exceeds("max_temperature", gpu.temperature, rules.max_temperature, lent)
    )


def _exceeds(name: str, value: float | None, limit: int | None, lent: bool) -> bool:
    return value is not None and limit is not None and value > limits.in_force(name, limit, lent)
