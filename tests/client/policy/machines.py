"""Machines, times and random rules for the tests of the policy."""

import random
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fl_client.policy.decide import Decision, decide
from fl_client.policy.facts import Facts, GpuFacts, Session
from fl_client.policy.hours import DAYS
from fl_client.policy.reasons import Code
from fl_client.policy.rules import Rules

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 6, 10, 12, 0, tzinfo=BERLIN)  # a Wednesday
HOUR = 3600.0
GB = 10**9


def gpu(index: int = 0, **facts: Any) -> GpuFacts:
    return GpuFacts(index, f"GPU {index}", 24 * GB, 20 * GB, **facts)


def machine(**facts: Any) -> Facts:
    """A notebook on mains that nobody has touched for an hour and that nothing else keeps busy."""
    quiet: dict[str, Any] = {
        "input_idle_seconds": HOUR,
        "session": Session.ACTIVE,
        "on_ac": True,
        "battery_percent": 90.0,
        "cpu_by_others": 1.0,
        "cores": 8,
        "ram_total_bytes": 16 * GB,
        "ram_available_bytes": 12 * GB,
        "gpus": (gpu(0, load_by_others=0.0, temperature=40.0),),
        "temperature": 45.0,
        "network_metered": False,
        "network_name": "Office",
    }
    return Facts(**{**quiet, **facts})


def ask(rules: Rules, now: datetime = NOW, before: Decision | None = None, **facts: Any) -> Decision:
    return decide(machine(**facts), rules, now, before=before)


def running(rules: Rules) -> Decision:
    """A decision under which training runs."""
    decision = ask(rules)
    assert decision.allowed
    return decision


def codes(decision: Decision) -> list[Code]:
    return [reason.code for reason in decision.reasons]


def random_hours(rng: random.Random) -> dict[str, list[str]]:
    edges = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 30)]
    return {
        day: ["-".join(rng.sample(edges, 2)) for _ in range(rng.randint(1, 2))]
        for day in rng.sample(DAYS, rng.randint(0, 7))
    }


def random_rules(rng: random.Random) -> Rules:
    idle = rng.choice([None, 0, 5, 10, 30])
    resumes = [None, 0, 5, 10, 20]
    drawn: dict[str, Any] = {
        "train_while_in_use": rng.choice([True, False]),
        "idle_minutes": idle,
        "resume_minutes": rng.choice([each for each in resumes if None in (idle, each) or each <= idle]),
        "on_battery": rng.choice([True, False]),
        "battery_floor": rng.choice([0, 20, 30, 98]),
        "hours": random_hours(rng),
        "stop_starting_minutes": rng.choice([0, 30, 60, 240]),
        "clear_minutes": rng.choice([0, 10, 60]),
        "other_cpu_in_use": rng.choice([0, 10, 25, 50]),
        "other_cpu_idle": rng.choice([10, 25, 50, 100]),
        "ram_share_in_use": rng.choice([10, 50, 90]),
        "ram_share_idle": rng.choice([10, 50, 90]),
        "leave_ram_free_gb": rng.choice([0, 1, 2.5, 4]),
        "cores_share_in_use": rng.choice([1, 25, 50]),
        "cores_share_idle": rng.choice([25, 50, 100]),
        "nice": rng.choice([0, 10, 19]),
        "gpu": rng.choice(["never", "idle", "always"]),
        "gpu_allow": rng.sample(range(4), rng.randint(0, 3)),
        "gpu_free_gb": rng.choice([0, 1, 2]),
        "other_gpu": rng.choice([0, 10, 50]),
        "exclusive_programs": rng.sample(["Zoom", "zoom", "teams", "Blender"], rng.randint(0, 3)),
        "metered_networks": rng.choice([True, False]),
        "networks_denied": rng.sample(["Guest", "guest", "Train"], rng.randint(0, 2)),
        "max_temperature": rng.choice([60, 80, 90]),
    }
    quiet = ("idle_minutes", "resume_minutes")
    return Rules(**{name: each for name, each in drawn.items() if name in quiet or rng.random() < 0.35})


def random_facts(rng: random.Random, idle_seconds: float) -> Facts:
    """Mostly a machine that may train, so that both answers come up."""

    def mostly(usual: Any, *others: Any) -> Any:
        return usual if rng.random() < 0.8 else rng.choice(others)

    return machine(
        input_idle_seconds=mostly(idle_seconds, None),
        session=mostly(Session.ACTIVE, Session.LOCKED, Session.NONE, None),
        on_ac=mostly(True, False, None),
        battery_percent=mostly(100.0, 19.0, 24.0, None),
        cpu_by_others=mostly(1.0, 9.0, 22.0, 45.0, None),
        ram_available_bytes=mostly(12 * GB, GB, 3 * GB),
        ram_by_us_bytes=mostly(GB, 7 * GB, 14 * GB),
        gpus=tuple(gpu(i, load_by_others=rng.choice([None, 0.0, 9.0, 45.0])) for i in range(3)),
        temperature=mostly(40.0, 57.0, 78.0, None),
        network_metered=mostly(False, True, None),
        network_name=mostly("Office", "Guest", None),
        programs=mostly(frozenset(), frozenset({"zoom"}), frozenset({"blender"})),
    )


def random_day(rng: random.Random, steps: int) -> list[tuple[datetime, Facts]]:
    """Looks at a machine whose owner comes and goes, on a day when the clock is changed or any other."""
    day = rng.choice([datetime(2026, 3, 29), datetime(2026, 10, 25), datetime(2026, 6, 1)])
    now = (day + timedelta(minutes=rng.randint(0, 1440))).replace(tzinfo=BERLIN)
    idle, looks = rng.choice([0.0, HOUR]), []
    for _ in range(steps):
        passed = rng.choice([20, 90, 240, 700])
        now = (now.astimezone(ZoneInfo("UTC")) + timedelta(seconds=passed)).astimezone(BERLIN)
        idle = 5.0 if rng.random() < 0.25 else idle + passed
        looks.append((now, random_facts(rng, idle)))
    return looks
