"""Rules in plain words: the effective rule as one sentence, and what a change of rules changed."""

from collections.abc import Callable, Iterator
from typing import Any

from fl_client.policy import limits, week_words
from fl_client.policy.phrases import amount, count, duration, joined, share
from fl_client.policy.presence import IN_USE, waits
from fl_client.policy.rules import Rules

UNSAID = "not set"


def sentence(rules: Rules) -> str:
    """Only what the rules say, as one sentence."""
    if rules.hours is not None and not rules.hours:
        return "Never trains: no hour of the week is allowed."
    conditions = [*_power(rules), *_hours(rules), *_networks(rules), *_shares(rules)]
    parts = [", ".join([_presence(rules), *conditions]), *_stops(rules), *_gpu(rules), *_programs(rules)]
    return f"{'; '.join(parts)}."


def changes(before: Rules, after: Rules) -> list[str]:
    """One line for each field that differs."""
    return [
        f"{title(name)}: {value(getattr(before, name))} → {value(getattr(after, name))}"
        for name in Rules.model_fields
        if getattr(before, name) != getattr(after, name)
    ]


def title(name: str) -> str:
    return Rules.model_fields[name].title or name


def value(given: Any) -> str:
    """What a field says, as it stands in a list."""
    if given is None:
        return UNSAID
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, dict):
        return week_words.said(given) or "always"
    if isinstance(given, tuple):
        return ", ".join(map(str, given)) or "none"
    return given if isinstance(given, str) else amount(given)


def _presence(rules: Rules) -> str:
    start, resume = waits(rules)
    quiet = duration(start) + (f" ({duration(resume)} after a short visit)" if resume < start else "")
    if rules.train_while_in_use is False:
        if start == IN_USE:
            return "Trains when nobody is using this machine"
        return f"Trains when nobody has used this machine for {quiet}"
    when = "also while you use this machine" if rules.train_while_in_use else "whenever there is work"
    away = f" and counts you as away after {quiet}" if start > IN_USE else ""
    return f"Trains {when}{away}"


def _power(rules: Rules) -> Iterator[str]:
    if rules.on_battery is False:
        yield "only on mains power"
    elif rules.battery_floor:
        yield f"on battery down to {rules.battery_floor} %"
    elif rules.on_battery:
        yield "also on battery"


def _hours(rules: Rules) -> Iterator[str]:
    said = week_words.said(rules.hours) if rules.hours is not None else ""
    if not said:
        return
    before_the_end = []
    if rules.stop_starting_minutes:
        before_the_end.append(f"nothing new in the last {count(rules.stop_starting_minutes, 'minute')}")
    if rules.clear_minutes:
        before_the_end.append(f"gone {count(rules.clear_minutes, 'minute')} before the end")
    yield f"{said} ({', '.join(before_the_end)})" if before_the_end else said


def _networks(rules: Rules) -> Iterator[str]:
    if rules.metered_networks is not None:
        yield "also over metered networks" if rules.metered_networks else "never over a metered network"
    if rules.networks_denied:
        noun = "network" if len(rules.networks_denied) == 1 else "networks"
        yield f"not on the {noun} {joined(rules.networks_denied, 'or')}"


def _shares(rules: Rules) -> Iterator[str]:
    cores = _pair(
        rules, rules.cores_share_in_use, rules.cores_share_idle, lambda most: f"{share(most)} the cores"
    )
    memory = _pair(
        rules, rules.ram_share_in_use, rules.ram_share_idle, lambda most: f"{share(most)} the memory"
    )
    parts = [f"at most {part}" for part in (cores, memory) if part]
    if rules.nice is not None:
        parts.append(f"niceness {rules.nice}")
    if parts:
        yield f"with {joined(parts)}"


def _stops(rules: Rules) -> Iterator[str]:
    load = _pair(rules, rules.other_cpu_in_use, rules.other_cpu_idle, lambda most: f"{most} %")
    causes = [f"other programs use more than {load} of the processor"] if load else []
    if rules.leave_ram_free_gb:
        causes.append(f"less than {amount(rules.leave_ram_free_gb)} GB of memory is free")
    if rules.max_temperature is not None:
        causes.append(f"the processor is hotter than {rules.max_temperature} °C")
    if causes:
        yield f"stops when {joined(causes, 'or')}"


def _gpu(rules: Rules) -> Iterator[str]:
    if rules.gpu == "never" or rules.gpu_allow == ():
        yield "never the GPU"
        return
    subject = "the GPU"
    if rules.gpu_allow is not None:
        subject = "of the GPUs only " + joined([f"number {index}" for index in rules.gpu_allow])
    limits_of_use = []
    if rules.gpu is not None:
        limits_of_use.append("only while you are away" if rules.gpu == "idle" else "at any time")
    if rules.gpu_free_gb:
        limits_of_use.append(f"leaving {amount(rules.gpu_free_gb)} GB of its memory free")
    if rules.other_gpu is not None:
        limits_of_use.append(f"not while other programs load it by more than {rules.other_gpu} %")
    if limits_of_use or rules.gpu_allow is not None:
        yield " ".join([subject, ", ".join(limits_of_use)]).strip()


def _programs(rules: Rules) -> Iterator[str]:
    if rules.exclusive_programs:
        yield f"never while {joined(rules.exclusive_programs, 'or')} runs"


def _pair(rules: Rules, in_use: int | None, idle: int | None, say: Callable[[int], str]) -> str:
    """Both limits of a pair, or the one that counts: a machine that never trains in use needs one."""
    used = limits.of_two(in_use, idle, in_use=True)
    if rules.train_while_in_use is False or used == idle:
        return "" if idle is None else say(idle)
    if used is None:
        return ""
    return f"{say(used)} while you use it" + ("" if idle is None else f" and {say(idle)} while you are away")
