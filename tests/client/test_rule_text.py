import pytest

from fl_client import rule_text
from fl_client.link_errors import BadInput
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules

NIGHTS = "mon-fri: 18:00-24:00; sat-sun: 00:00-24:00"


@pytest.mark.parametrize(
    ("typed", "rules"),
    [
        ("idle_minutes=30", Rules(idle_minutes=30)),
        ("on_battery=no", Rules(on_battery=False)),
        ("leave_ram_free_gb=1.5", Rules(leave_ram_free_gb=1.5)),
        ("gpu=never", Rules(gpu="never")),
        ("gpu_allow=0, 2", Rules(gpu_allow=(0, 2))),
        ("gpu_allow=none", Rules(gpu_allow=())),
        ("exclusive_programs=zoom, Blender.exe", Rules(exclusive_programs=("Blender", "zoom"))),
        ("hours=mon 18:00-20:00 21:00-22:00", Rules(hours={"mon": ("18:00-20:00", "21:00-22:00")})),
        ("hours=sat,sun: 08:00-10:00", Rules(hours={"sat": ("08:00-10:00",), "sun": ("08:00-10:00",)})),
        ("hours=sun-mon: 08:00-10:00", Rules(hours={"sun": ("08:00-10:00",), "mon": ("08:00-10:00",)})),
        ("hours=none", Rules(hours={})),
    ],
)
def test_rules_are_read_as_people_type_them(typed: str, rules: Rules) -> None:
    assert rule_text.changed(Rules(), [typed]) == rules


@pytest.mark.parametrize(
    "rules", [COMPANY_DEFAULTS, Rules(hours={}), Rules(gpu_allow=(), networks_denied=("a", "b"))]
)
def test_what_is_said_can_be_typed_again(rules: Rules) -> None:
    texts = {name: rule_text.said(value) for name, value in rules if value is not None}
    assert texts
    assert rule_text.with_values(Rules(), texts) == rules


def test_hours_are_said_in_runs_of_days() -> None:
    assert rule_text.said(rule_text.changed(Rules(), [f"hours={NIGHTS}"]).hours) == NIGHTS


def test_other_rules_stay_and_taking_one_back_works() -> None:
    rules = rule_text.changed(Rules(idle_minutes=30, nice=19), ["gpu=never"])
    assert rule_text.without(rules, ["nice", "hours"]) == Rules(idle_minutes=30, gpu="never")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("idle=30", "no rule 'idle'"),
        ("idle_minutes", "NAME=VALUE"),
        ("idle_minutes=", "NAME=VALUE"),
        ("idle_minutes=often", "idle_minutes"),
        ("idle_minutes=500", "idle_minutes"),
        ("gpu=sometimes", "gpu"),
        ("on_battery=maybe", "on_battery"),
        ("hours=nightly 18:00-20:00", "is no day"),
        ("hours=mon", "days and hours"),
        ("hours=mon 25:00-26:00", "hours"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_name(typed: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        rule_text.changed(Rules(), [typed])
