import pytest
from pydantic import ValidationError

from fl_client.errors import sentence
from fl_client.policy.decide import decide
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules
from tests.client.policy.machines import GB, NOW, gpu, machine


def test_every_field_is_a_form_field_with_a_title_and_a_help_text():
    fields = Rules.model_fields
    assert len(fields) == 24
    assert all(field.title and field.description and field.default is None for field in fields.values())


def test_no_rules_restrict_nothing():
    busy = machine(
        input_idle_seconds=0.0,
        on_ac=False,
        battery_percent=1.0,
        cpu_by_others=100.0,
        ram_available_bytes=0,
        ram_by_us_bytes=15 * GB,
        temperature=110.0,
        network_metered=True,
        gpus=(gpu(0, load_by_others=100.0), gpu(1)),
    )
    decision = decide(busy, Rules(), NOW)
    assert (decision.allowed, decision.may_start, decision.reason, decision.unknown) == (True, True, "", ())
    resources = decision.resources
    assert (resources.cores, resources.nice, resources.ram_bytes, resources.gpus) == (8, 0, None, (0, 1))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"unheard_of": 1}, "unheard_of: Extra inputs"),
        ({"idle_minutes": 241}, "idle_minutes: Input should be less than or equal to 240"),
        ({"leave_ram_free_gb": float("nan")}, "leave_ram_free_gb: Input should be a finite number"),
        ({"other_cpu_idle": 101}, "other_cpu_idle"),
        ({"cores_share_idle": 0}, "cores_share_idle"),
        ({"nice": 20}, "nice"),
        ({"gpu": "sometimes"}, "gpu: Input should be 'never', 'idle' or 'always'"),
        ({"gpu_allow": [-1]}, "gpu_allow.0"),
        ({"exclusive_programs": [" "]}, "exclusive_programs.0"),
        ({"hours": {"monday": ["08:00-09:00"]}}, "hours.monday"),
        ({"hours": {"mon": ["8-9"]}}, "hours: Value error, '8-9' is not a window; write it like 18:00-24:00"),
        ({"idle_minutes": 5, "resume_minutes": 6}, "resume_minutes is 6; it may be at most idle_minutes, 5"),
    ],
)
def test_rules_out_of_range_are_refused_with_their_field(given, complaint):
    with pytest.raises(ValidationError) as caught:
        Rules.model_validate(given)
    assert complaint in sentence(caught.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"exclusive_programs": ["zoom.exe", "Zoom", " Teams "]}, ("Teams", "Zoom")),
        ({"exclusive_programs": [".exe"]}, (".exe",)),
        ({"networks_denied": ["guest", "Guest"]}, ("Guest",)),
        ({"gpu_allow": [2, 0, 2]}, (0, 2)),
    ],
)
def test_lists_are_kept_in_one_form(given, kept):
    [(name, values)] = given.items()
    assert getattr(Rules(**{name: values}), name) == kept


def test_rules_survive_the_journey_as_json():
    rules = COMPANY_DEFAULTS.model_copy(update={"hours": {"mon": ("18:00-24:00",)}, "gpu_allow": (0,)})
    assert Rules.model_validate_json(rules.model_dump_json()) == rules


def test_rules_do_not_change_under_those_who_hold_them():
    with pytest.raises(ValidationError, match="frozen"):
        COMPANY_DEFAULTS.nice = 0
