from datetime import timedelta

import pytest

from fl_client.policy import checks
from fl_client.policy.decide import decide
from fl_client.policy.pause import Pause
from fl_client.policy.reasons import Code
from fl_client.policy.rules import Rules
from tests.client.policy.machines import GB, NOW, ask, codes, machine, running


@pytest.mark.parametrize(
    ("rules", "facts", "code", "sentence"),
    [
        (
            {"train_while_in_use": False},
            {"input_idle_seconds": 3.0},
            "in-use",
            "you are using this machine",
        ),
        (
            {"train_while_in_use": False},
            {"input_idle_seconds": None},
            "in-use",
            "this machine cannot tell whether you are using it",
        ),
        (
            {"train_while_in_use": False, "idle_minutes": 15},
            {"input_idle_seconds": 190.0},
            "quiet-too-short",
            "this machine was used 3 minutes ago; training waits for 15 minutes of quiet",
        ),
        (
            {"exclusive_programs": ["Zoom", "Teams"]},
            {"programs": frozenset({"zoom", "bash"})},
            "program-running",
            "Zoom is running",
        ),
        (
            {"exclusive_programs": ["Zoom.exe", "Teams"]},
            {"programs": frozenset({"zoom", "teams"})},
            "program-running",
            "Teams and Zoom are running",
        ),
        (
            {"exclusive_programs": ["Zoom", "Teams", "Blender"]},
            {"programs": frozenset({"zoom", "teams", "blender"})},
            "program-running",
            "Blender and 2 other programs are running",
        ),
        (
            {"hours": {"wed": ["18:00-24:00"]}},
            {},
            "outside-hours",
            "the allowed hours begin at 18:00",
        ),
        (
            {"hours": {"fri": ["18:00-24:00"]}},
            {},
            "outside-hours",
            "the allowed hours begin at 18:00 on Fri",
        ),
        (
            {"hours": {"wed": ["08:00-09:00"]}},
            {},
            "outside-hours",
            "the allowed hours begin at 08:00 on 17 Jun",
        ),
        ({"hours": {}}, {}, "outside-hours", "no hour of the week is allowed"),
        (
            {"hours": {"wed": ["08:00-12:08"]}, "clear_minutes": 10},
            {},
            "hours-ending",
            "the allowed hours end at 12:08, and training is gone 10 minutes before",
        ),
        ({"on_battery": False}, {"on_ac": False}, "on-battery", "it runs on battery"),
        (
            {"battery_floor": 30},
            {"on_ac": False, "battery_percent": 18.0},
            "battery-low",
            "the battery is at 18 %; training waits for 35 %",
        ),
        (
            {"metered_networks": False},
            {"network_metered": True},
            "metered-network",
            "the network is metered",
        ),
        (
            {"networks_denied": ["guest"]},
            {"network_name": "Guest"},
            "network-denied",
            "it is on the network Guest",
        ),
        (
            {"max_temperature": 85},
            {"temperature": 91.4},
            "too-hot",
            "the processor is at 91.4 °C; training waits for 80 °C",
        ),
        (
            {"leave_ram_free_gb": 2},
            {"ram_available_bytes": 12 * GB // 10},
            "memory-low",
            "1.2 GB of memory are free; training waits for 2.5 GB",
        ),
        (
            {"ram_share_idle": 50},
            {"ram_by_us_bytes": 9 * GB},
            "memory-share",
            "training takes 9 GB of memory; its share is 6.4 GB",
        ),
        (
            {"other_cpu_idle": 50},
            {"cpu_by_others": 43.21},
            "cpu-busy",
            "other programs use 43.2 % of the processor; training waits for 40 %",
        ),
    ],
)
def test_each_rule_refuses_with_its_code_and_a_sentence(rules, facts, code, sentence):
    decision = ask(Rules(**rules), **facts)
    assert (decision.allowed, decision.may_start, codes(decision)) == (False, False, [code])
    assert decision.reason == sentence


def test_what_runs_hears_of_the_limit_itself():
    rules = Rules(other_cpu_idle=50)
    decision = ask(rules, before=running(rules), cpu_by_others=61.0)
    assert decision.reason == "other programs use 61 % of the processor; the limit is 50 %"


def test_reasons_are_told_in_the_order_of_their_codes():
    rules = Rules(
        train_while_in_use=False,
        exclusive_programs=["zoom"],
        hours={},
        on_battery=False,
        battery_floor=50,
        metered_networks=False,
        networks_denied=["Office"],
        max_temperature=40,
        leave_ram_free_gb=14,
        ram_share_idle=10,
        other_cpu_idle=10,
    )
    facts = machine(
        input_idle_seconds=1.0,
        programs=frozenset({"zoom"}),
        on_ac=False,
        battery_percent=1.0,
        network_metered=True,
        ram_by_us_bytes=8 * GB,
        cpu_by_others=99.0,
    )
    told = codes(decide(facts, rules, NOW, pause=Pause()))
    assert told == [code for code in Code if code in told]
    assert {*Code} - {*told} == {Code.QUIET_TOO_SHORT, Code.HOURS_ENDING, Code.NO_NEW_WORK}


def test_there_is_a_check_for_every_code():
    # One check tells both reasons of presence.
    assert [check.__name__.replace("_", "-") for check in checks.CHECKS] == [
        code.value for code in Code if code is not Code.QUIET_TOO_SHORT
    ]


def test_sentences_fit_into_a_message():
    names = [f"{letter * 58} {number}" for number, letter in enumerate("abc")]
    decision = decide(
        machine(programs=frozenset(names), network_name="n" * 300),
        Rules(exclusive_programs=names[:2], networks_denied=["n"]),
        NOW,
        pause=Pause(NOW + timedelta(days=40), "t" * 500),
    )
    assert len(decision.reasons) == 2
    assert max(len(reason.sentence) for reason in decision.reasons) <= 200


def test_a_battery_whose_supply_is_not_known_does_not_refuse():
    rules = Rules(on_battery=False, battery_floor=50)
    assert ask(rules, on_ac=None, battery_percent=3.0).allowed
    assert ask(rules, on_ac=True, battery_percent=3.0).allowed
