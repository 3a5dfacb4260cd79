import pytest

from fl_client.policy.resources import Resources, allotted
from fl_client.policy.rules import Rules
from tests.client.policy.machines import GB, ask, gpu, machine

USED, AWAY = {"input_idle_seconds": 1.0}, {}


@pytest.mark.parametrize(
    ("rules", "cores", "facts", "allotted_cores"),
    [
        ({}, 8, AWAY, 8),
        ({"cores_share_idle": 50}, 8, AWAY, 4),
        ({"cores_share_idle": 50}, 8, USED, 4),
        ({"cores_share_idle": 50, "cores_share_in_use": 25}, 8, USED, 2),
        ({"cores_share_idle": 25, "cores_share_in_use": 50}, 8, USED, 2),
        ({"cores_share_idle": 50}, 3, AWAY, 1),
        ({"cores_share_idle": 1}, 8, AWAY, 1),
        ({"cores_share_in_use": 1}, 8, AWAY, 8),
    ],
)
def test_training_takes_its_share_of_the_cores_and_at_least_one(rules, cores, facts, allotted_cores):
    assert ask(Rules(**rules), cores=cores, **facts).resources.cores == allotted_cores


@pytest.mark.parametrize(
    ("rules", "facts", "ram_bytes"),
    [
        ({}, AWAY, None),
        ({"ram_share_idle": 90}, AWAY, 144 * GB // 10),
        ({"ram_share_idle": 90, "ram_share_in_use": 50}, USED, 8 * GB),
        ({"ram_share_in_use": 50}, AWAY, None),
        ({"ram_share_idle": 90}, {"ram_total_bytes": 0}, None),
    ],
)
def test_training_takes_its_share_of_the_memory(rules, facts, ram_bytes):
    assert ask(Rules(**rules), **facts).resources.ram_bytes == ram_bytes


@pytest.mark.parametrize(
    ("rules", "facts", "gpus"),
    [
        ({}, AWAY, (0, 1)),
        ({"gpu": "always"}, USED, (0, 1)),
        ({"gpu": "idle"}, AWAY, (0, 1)),
        ({"gpu": "idle"}, USED, ()),
        ({"gpu": "never"}, AWAY, ()),
        ({"gpu_allow": [1, 7]}, AWAY, (1,)),
        ({"gpu_allow": []}, AWAY, ()),
        ({"other_gpu": 50}, AWAY, (1,)),
        ({"max_temperature": 80}, AWAY, (0,)),
        ({"other_gpu": 50, "max_temperature": 80}, AWAY, ()),
    ],
)
def test_the_gpus_that_the_rules_leave_are_a_limit_and_no_refusal(rules, facts, gpus):
    cards = (gpu(0, load_by_others=60.0, temperature=70.0), gpu(1, load_by_others=1.0, temperature=84.0))
    decision = ask(Rules(**rules), gpus=cards, **facts)
    assert decision.allowed
    assert decision.resources.gpus == gpus


@pytest.mark.parametrize(
    ("fact", "rules"), [("load_by_others", {"other_gpu": 50}), ("temperature", {"max_temperature": 50})]
)
def test_a_gpu_is_given_back_later_than_it_is_taken_away(fact, rules):
    last, lent = None, []
    for value in (40.0, 49.0, 51.0, 48.0, 40.0, 48.0):
        last = ask(Rules(**rules), before=last, gpus=(gpu(0, **{fact: value}),))
        lent.append(last.resources.gpus == (0,))
    assert lent == [True, True, False, False, True, True]


def test_all_limits_together():
    rules = Rules(cores_share_idle=75, nice=19, ram_share_idle=25, gpu="always", gpu_free_gb=1.5)
    expected = Resources(cores=6, nice=19, ram_bytes=4 * GB, gpus=(0,), gpu_free_bytes=1_500_000_000)
    assert allotted(machine(), rules, in_use=False) == expected


def test_a_refused_machine_tells_what_it_would_lend():
    assert ask(Rules(on_battery=False, nice=5), on_ac=False).resources.nice == 5
