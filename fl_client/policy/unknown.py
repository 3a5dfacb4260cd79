"""Which facts did the rules in force need that this machine could not tell?"""

from fl_client.policy import limits
from fl_client.policy.facts import Facts, Session
from fl_client.policy.presence import Presence
from fl_client.policy.rules import Rules


def names(facts: Facts, rules: Rules, presence: Presence) -> tuple[str, ...]:
    """Names as in `Facts`. A machine that reads neither mains nor charge has no battery to ask about."""
    has_floor = rules.battery_floor is not None
    needed = {
        "input_idle_seconds": facts.input_idle_seconds is None
        and facts.session not in (Session.NONE, Session.LOCKED)
        and presence_matters(rules),
        "on_ac": facts.on_ac is None
        and facts.battery_percent is not None
        and (rules.on_battery is False or has_floor),
        "battery_percent": has_floor and facts.on_ac is False and facts.battery_percent is None,
        "cpu_by_others": facts.cpu_by_others is None
        and limits.of_two(rules.other_cpu_in_use, rules.other_cpu_idle, presence.in_use) is not None,
        "ram_total_bytes": not facts.ram_total_bytes
        and (
            rules.leave_ram_free_gb is not None
            or limits.of_two(rules.ram_share_in_use, rules.ram_share_idle, presence.in_use) is not None
        ),
        "gpus.load_by_others": rules.gpu != "never"
        and rules.other_gpu is not None
        and any(gpu.load_by_others is None for gpu in facts.gpus),
        "temperature": facts.temperature is None and rules.max_temperature is not None,
        "network_metered": facts.network_metered is None and rules.metered_networks is False,
        "network_name": facts.network_name is None and bool(rules.networks_denied),
    }
    return tuple(name for name, is_missing in needed.items() if is_missing)


def presence_matters(rules: Rules) -> bool:
    limits_in_use = (rules.other_cpu_in_use, rules.ram_share_in_use, rules.cores_share_in_use)
    return (
        rules.train_while_in_use is False
        or rules.gpu == "idle"
        or any(limit is not None for limit in limits_in_use)
    )
