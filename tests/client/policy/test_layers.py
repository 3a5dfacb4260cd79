import random
from functools import reduce
from itertools import permutations

import pytest

from fl_client.policy import layers
from fl_client.policy.decide import Decision, Pause, decide
from fl_client.policy.resources import Resources
from fl_client.policy.rules import COMPANY_DEFAULTS, STRICTER, Rules
from tests.client.policy.machines import random_day, random_rules


def drawn(seed: int, cases: int, number: int) -> list[list[Rules]]:
    rng = random.Random(seed)
    return [[random_rules(rng) for _ in range(number)] for _ in range(cases)]


def test_every_field_says_how_it_gets_stricter():
    assert STRICTER.keys() == Rules.model_fields.keys()


@pytest.mark.parametrize(
    ("name", "one", "other", "stricter"),
    [
        ("train_while_in_use", True, False, False),
        ("idle_minutes", 5, 15, 15),
        ("resume_minutes", 5, 3, 5),
        ("on_battery", False, True, False),
        ("battery_floor", 20, 50, 50),
        ("hours", {"mon": ("08:00-18:00",)}, {"mon": ("12:00-20:00",)}, {"mon": ("12:00-18:00",)}),
        ("hours", {"mon": ("08:00-12:00",)}, {"tue": ("08:00-12:00",)}, {}),
        ("stop_starting_minutes", 30, 60, 60),
        ("clear_minutes", 10, 0, 10),
        ("other_cpu_in_use", 25, 20, 20),
        ("other_cpu_idle", 50, 60, 50),
        ("ram_share_in_use", 50, 40, 40),
        ("ram_share_idle", 90, 80, 80),
        ("leave_ram_free_gb", 1, 2, 2),
        ("cores_share_in_use", 25, 50, 25),
        ("cores_share_idle", 100, 50, 50),
        ("nice", 10, 19, 19),
        ("gpu", "always", "idle", "idle"),
        ("gpu", "idle", "never", "never"),
        ("gpu", "never", "always", "never"),
        ("gpu_allow", (0, 1), (1, 2), (1,)),
        ("gpu_allow", (0,), (1,), ()),
        ("gpu_free_gb", 1, 4, 4),
        ("other_gpu", 20, 10, 10),
        ("exclusive_programs", ("Zoom",), ("zoom", "Teams"), ("Teams", "Zoom")),
        ("metered_networks", True, False, False),
        ("networks_denied", ("Guest",), ("Train",), ("Guest", "Train")),
        ("max_temperature", 90, 80, 80),
    ],
)
def test_of_two_layers_the_stricter_holds(name, one, other, stricter):
    rules = [Rules(**{name: each}) for each in (one, other)]
    for order in (rules, rules[::-1]):
        assert layers.combine(*order) == Rules(**{name: stricter})


def test_a_layer_that_says_nothing_changes_nothing():
    assert layers.combine() == Rules()
    assert layers.combine(Rules(), COMPANY_DEFAULTS, Rules()) == COMPANY_DEFAULTS


@pytest.mark.parametrize(
    ("one", "other", "idle", "resume"),
    [
        ({"idle_minutes": 15}, {"idle_minutes": 5, "resume_minutes": 5}, 15, 15),
        ({"idle_minutes": 15, "resume_minutes": 5}, {"idle_minutes": 10}, 15, 10),
        ({"idle_minutes": 5, "resume_minutes": 3}, {"resume_minutes": 10}, 10, 10),
        ({"idle_minutes": 15}, {"resume_minutes": 5}, 15, 15),
        ({"idle_minutes": 15}, {"idle_minutes": 20}, 20, None),
        ({"resume_minutes": 5}, {"resume_minutes": 7}, None, 7),
    ],
)
def test_a_layer_that_names_one_quiet_time_means_it_for_both(one, other, idle, resume):
    expected = Rules(idle_minutes=idle, resume_minutes=resume)
    assert layers.combine(Rules(**one), Rules(**other)) == expected
    assert layers.combine(Rules(**other), Rules(**one)) == expected


def test_a_combination_does_not_depend_on_order_or_grouping():
    cases = drawn(1, 120, 3)
    assert len(cases) == 120
    for one, other, third in cases:
        together = {layers.combine(*order).model_dump_json() for order in permutations((one, other, third))}
        grouped = layers.combine(one, layers.combine(other, third))
        assert together == {grouped.model_dump_json()}


def test_a_combination_with_itself_or_its_parts_changes_nothing():
    cases = drawn(2, 150, 2)
    assert len(cases) == 150
    for one, other in cases:
        both = layers.combine(one, other)
        assert layers.combine(one, one) == one
        assert reduce(layers.combine, (both, one, other)) == both


def within(inner: Resources, outer: Resources) -> bool:
    return (
        inner.cores <= outer.cores
        and inner.nice >= outer.nice
        and (outer.ram_bytes is None or (inner.ram_bytes is not None and inner.ram_bytes <= outer.ram_bytes))
        and set(inner.gpus) <= set(outer.gpus)
        and inner.gpu_free_bytes >= outer.gpu_free_bytes
    )


def test_what_a_combination_allows_each_layer_alone_allows_at_every_moment():
    rng = random.Random(3)
    cases = drawn(4, 120, 2)
    answers: set[tuple[bool, bool]] = set()
    for parts in cases:
        rules = [*parts, layers.combine(*parts)]
        last: list[Decision | None] = [None] * len(rules)
        for now, facts in random_day(rng, 12):
            last = [decide(facts, each, now, before=before) for each, before in zip(rules, last, strict=True)]
            combined = last[-1]
            for alone in last[:-1]:
                answers.add((combined.allowed, alone.allowed))
                assert alone.allowed or not combined.allowed
                assert alone.may_start or not combined.may_start
                assert combined.in_use or not alone.in_use
                assert within(combined.resources, alone.resources)
    assert answers == {(False, False), (False, True), (True, True)}


def test_whatever_the_rules_a_paused_machine_is_not_lent():
    rng = random.Random(5)
    looks = [look for _ in range(20) for look in random_day(rng, 10)]
    assert len(looks) == 200
    for now, facts in looks:
        assert not decide(facts, random_rules(rng), now, pause=Pause()).allowed


@pytest.mark.parametrize(
    ("owner", "above", "told"),
    [
        (
            {"idle_minutes": 5},
            {"idle_minutes": 15},
            ["Quiet minutes before training: you say 5, the rules above you say 15; the stricter holds."],
        ),
        (
            {"on_battery": True},
            {"on_battery": False},
            ["Train on battery: you say yes, the rules above you say no; the stricter holds."],
        ),
        (
            {"gpu": "always"},
            {"gpu": "idle"},
            ["GPU: you say always, the rules above you say idle; the stricter holds."],
        ),
        (
            {"gpu_allow": (0, 1)},
            {"gpu_allow": (1, 2)},
            ["Allowed GPUs: you say 0, 1, the rules above you say 1, 2; what both allow holds."],
        ),
        (
            {"hours": {"sat": ("00:00-24:00",)}},
            {"hours": {"mon": ("18:00-24:00",)}},
            [
                "Allowed hours: you say all of Sat, the rules above you say Mon 18:00–24:00; "
                "what both allow holds."
            ],
        ),
        ({"idle_minutes": 15}, {"idle_minutes": 15}, []),
        (
            {"idle_minutes": 30, "nice": 19, "gpu": "never"},
            {"idle_minutes": 15, "nice": 10, "gpu": "idle"},
            [],
        ),
        ({"idle_minutes": 1}, {}, []),
        ({}, {"idle_minutes": 15}, []),
        ({"exclusive_programs": ("Zoom",)}, {"exclusive_programs": ("Teams",)}, []),
        ({"hours": {"mon": ("19:00-20:00",)}}, {"hours": {"mon": ("18:00-24:00",)}}, []),
    ],
)
def test_an_owner_hears_which_wishes_the_layers_above_overrule(owner, above, told):
    assert layers.loosened(Rules(**owner), Rules(**above)) == told


def test_an_owner_who_loosens_everything_changes_nothing():
    lax = Rules(
        train_while_in_use=True,
        idle_minutes=0,
        resume_minutes=0,
        on_battery=True,
        clear_minutes=0,
        other_cpu_idle=100,
        gpu="always",
        metered_networks=True,
    )
    assert layers.combine(COMPANY_DEFAULTS, lax) == COMPANY_DEFAULTS
    assert len(layers.loosened(lax, COMPANY_DEFAULTS)) == 8
