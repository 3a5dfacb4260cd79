import pytest

from fl_client.page import controls
from fl_client.policy import layers
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules

NOTHING = Rules()


def shown(owner: Rules, above: Rules) -> dict[str, str]:
    """What a browser sends when nothing was touched."""
    return {each.name: each.value for _, group in controls.sections(owner, above) for each in group}


def test_every_rule_has_one_control() -> None:
    names = [name for _, names in controls.SECTIONS for name in names]
    assert sorted(names) == sorted(Rules.model_fields)


@pytest.mark.parametrize(
    ("name", "above", "low", "high", "loose"),
    [
        ("idle_minutes", Rules(idle_minutes=15), "15", "240", "15"),
        ("idle_minutes", NOTHING, "0", "240", "0"),
        ("ram_share_idle", Rules(ram_share_idle=90), "1", "90", "90"),
        ("ram_share_idle", NOTHING, "1", "100", "100"),
        ("leave_ram_free_gb", Rules(leave_ram_free_gb=1), "1", "64", "1"),
        ("leave_ram_free_gb", Rules(leave_ram_free_gb=200), "200", "200", "200"),
        ("battery_floor", Rules(battery_floor=100), "100", "100", "100"),
    ],
)
def test_a_slider_only_goes_to_the_stricter_side(name, above, low, high, loose) -> None:
    made = controls.control(name, NOTHING, above)
    assert (made.low, made.high, made.loose, made.value) == (low, high, loose, loose)
    assert made.fixed == (low == high)


@pytest.mark.parametrize(
    ("name", "above", "choices"),
    [
        ("on_battery", Rules(on_battery=True), ["no"]),
        ("on_battery", NOTHING, ["no"]),
        ("on_battery", Rules(on_battery=False), []),
        ("gpu", NOTHING, ["never", "idle"]),
        ("gpu", Rules(gpu="always"), ["never", "idle"]),
        ("gpu", Rules(gpu="idle"), ["never"]),
        ("gpu", Rules(gpu="never"), []),
    ],
)
def test_a_choice_offers_what_is_stricter(name: str, above: Rules, choices: list[str]) -> None:
    assert [value for value, _ in controls.control(name, NOTHING, above).choices] == choices


@pytest.mark.parametrize("above", [NOTHING, COMPANY_DEFAULTS, Rules(idle_minutes=100, gpu="never")])
def test_a_form_that_was_not_touched_changes_nothing(above: Rules) -> None:
    # The third of these is looser than the company: it stays, in case that the company loosens its own.
    for owner in (
        NOTHING,
        Rules(idle_minutes=30, gpu="idle", exclusive_programs=("zoom",)),
        Rules(idle_minutes=3),
    ):
        assert controls.applied(shown(owner, above), owner, above) == owner


def test_moving_one_control_changes_that_rule_alone() -> None:
    owner = Rules(idle_minutes=5, nice=15)
    form = {**shown(owner, COMPANY_DEFAULTS), "ram_share_idle": "40"}
    assert controls.applied(form, owner, COMPANY_DEFAULTS) == Rules(
        idle_minutes=5, nice=15, ram_share_idle=40
    )


def test_moving_a_slider_back_to_its_loose_end_takes_the_rule_back() -> None:
    owner = Rules(idle_minutes=60, nice=15)
    form = {**shown(owner, COMPANY_DEFAULTS), "idle_minutes": "15"}
    assert controls.applied(form, owner, COMPANY_DEFAULTS) == Rules(nice=15)


def test_whatever_the_form_says_the_rules_above_hold() -> None:
    form = {"idle_minutes": "0", "train_while_in_use": "yes", "gpu": "always"}
    owner = controls.applied(form, NOTHING, COMPANY_DEFAULTS)
    held = layers.combine(COMPANY_DEFAULTS, owner)
    assert (held.idle_minutes, held.train_while_in_use, held.gpu) == (15, False, "idle")
