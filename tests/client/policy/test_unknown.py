import pytest

from fl_client.policy.decide import decide
from fl_client.policy.facts import Facts, Session
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules
from tests.client.policy.machines import NOW, ask, gpu


def test_a_fact_that_is_not_known_does_not_refuse_but_is_named():
    rules = COMPANY_DEFAULTS.model_copy(
        update={"max_temperature": 80, "networks_denied": ("Guest",), "other_gpu": 10, "battery_floor": 30}
    )
    blind = Facts(session=Session.NONE, battery_percent=50.0, gpus=(gpu(0),))
    decision = decide(blind, rules, NOW)
    assert decision.allowed
    assert decision.unknown == (
        "on_ac",
        "cpu_by_others",
        "ram_total_bytes",
        "gpus.load_by_others",
        "temperature",
        "network_metered",
        "network_name",
    )


@pytest.mark.parametrize(
    ("rules", "facts", "unknown"),
    [
        ({"train_while_in_use": False}, {"input_idle_seconds": None}, ("input_idle_seconds",)),
        ({"gpu": "idle"}, {"input_idle_seconds": None}, ("input_idle_seconds",)),
        ({"cores_share_in_use": 50}, {"input_idle_seconds": None}, ("input_idle_seconds",)),
        ({"idle_minutes": 5}, {"input_idle_seconds": None}, ()),
        ({"train_while_in_use": False}, {"input_idle_seconds": None, "session": Session.LOCKED}, ()),
        ({"battery_floor": 20}, {"on_ac": False, "battery_percent": None}, ("battery_percent",)),
        ({"battery_floor": 20}, {"on_ac": True, "battery_percent": None}, ()),
        ({"on_battery": False}, {"on_ac": None, "battery_percent": None}, ()),
        ({"leave_ram_free_gb": 1}, {"ram_total_bytes": 0, "ram_available_bytes": 0}, ("ram_total_bytes",)),
        ({"ram_share_idle": 50}, {"ram_total_bytes": 0}, ("ram_total_bytes",)),
        ({"other_cpu_in_use": 25}, {"cpu_by_others": None}, ()),
        ({"gpu": "never", "other_gpu": 10}, {"gpus": (gpu(0),)}, ()),
        ({}, {"temperature": None, "network_name": None, "network_metered": None}, ()),
    ],
)
def test_only_facts_that_a_rule_in_force_needed_are_named_unknown(rules, facts, unknown):
    assert ask(Rules(**rules), **facts).unknown == unknown
