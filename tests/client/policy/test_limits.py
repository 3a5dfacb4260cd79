import pytest

from fl_client.policy import limits
from fl_client.policy.rules import Rules
from tests.client.policy.machines import GB, ask, running


@pytest.mark.parametrize(
    ("rules", "stops", "goes_on", "stays_off"),
    [
        ({"other_cpu_idle": 50}, {"cpu_by_others": 50.1}, {"cpu_by_others": 40.0}, {"cpu_by_others": 45.0}),
        ({"max_temperature": 85}, {"temperature": 85.1}, {"temperature": 80.0}, {"temperature": 82.0}),
        (
            {"battery_floor": 30},
            {"on_ac": False, "battery_percent": 29.9},
            {"on_ac": False, "battery_percent": 35.0},
            {"on_ac": False, "battery_percent": 32.0},
        ),
        (
            {"battery_floor": 98},
            {"on_ac": False, "battery_percent": 97.0},
            {"on_ac": False, "battery_percent": 100.0},
            {"on_ac": False, "battery_percent": 99.0},
        ),
        (
            {"leave_ram_free_gb": 4},
            {"ram_available_bytes": 4 * GB - 1},
            {"ram_available_bytes": 5 * GB},
            {"ram_available_bytes": 45 * GB // 10},
        ),
        (
            {"ram_share_idle": 50},
            {"ram_by_us_bytes": 8 * GB + 1},
            {"ram_by_us_bytes": 64 * GB // 10},
            {"ram_by_us_bytes": 7 * GB},
        ),
    ],
)
def test_going_on_needs_more_than_not_stopping(rules, stops, goes_on, stays_off):
    rules = Rules(**rules)
    assert not ask(rules, before=running(rules), **stops).allowed
    assert ask(rules, before=running(rules), **stays_off).allowed
    stopped = ask(rules, before=running(rules), **stops)
    for before in (stopped, None):
        assert not ask(rules, before=before, **stays_off).allowed
        assert ask(rules, before=before, **goes_on).allowed


def test_every_pair_of_limits_is_in_the_table():
    names = {"other_cpu", "other_gpu", "ram_share", "leave_ram_free_gb", "battery_floor", "max_temperature"}
    assert limits.RESTART.keys() == names
    for name in names:
        assert limits.in_force(name, 50, running=True) == 50 != limits.in_force(name, 50, running=False)


def test_a_load_that_hovers_at_the_limit_does_not_make_training_flap():
    rules, last, answers = Rules(other_cpu_idle=50), None, []
    for load in (10, 49, 51, 49, 51, 49, 39, 49, 39):
        last = ask(rules, before=last, cpu_by_others=float(load))
        answers.append(last.allowed)
    assert answers == [True, True, False, False, False, False, True, True, True]


@pytest.mark.parametrize(
    ("in_use_limit", "idle_limit", "load", "idle_seconds", "allowed"),
    [
        (25, 50, 30.0, 3600.0, True),
        (25, 50, 30.0, 5.0, False),
        (50, 25, 30.0, 5.0, False),
        (None, 25, 30.0, 5.0, False),
        (25, None, 30.0, 3600.0, True),
        (25, None, 30.0, 5.0, False),
    ],
)
def test_a_used_machine_has_its_own_limit_which_never_loosens_that_of_an_idle_one(
    in_use_limit, idle_limit, load, idle_seconds, allowed
):
    rules = Rules(other_cpu_in_use=in_use_limit, other_cpu_idle=idle_limit)
    assert ask(rules, cpu_by_others=load, input_idle_seconds=idle_seconds).allowed is allowed
