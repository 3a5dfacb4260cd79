"""Which of the fitting devices are taken, as tables: facts in, names and reasons out."""

import zlib
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from fl_server.placement import choice
from fl_server.placement.choice import choose
from fl_server.placement.facts import Demand, DeviceFacts

MONDAY_NINE = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ANYTHING = Demand()


def device(name: str, owner: int = 0, **facts: Any) -> DeviceFacts:
    return DeviceFacts(name, name, owner or zlib.crc32(name.encode()), **facts)


def named(
    devices: list[DeviceFacts], count: int, demand: Demand = ANYTHING, seed: int = 0, **more: Any
) -> list[str]:
    return [one.device.name for one in choose(devices, demand, count, seed, MONDAY_NINE, **more)]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"relative_speed": 2.0}, {}),
        ({}, {"relative_speed": 0.5}),
        ({"free_hours": {9: 0.9}}, {"free_hours": {9: 0.2}}),
        ({"free_hours": {9: 0.9}}, {}),
        ({}, {"free_hours": {9: 0.1}}),
        ({"reputation": 0.9}, {"reputation": 0.6}),
        ({}, {"recent_work": 3600.0}),
        ({"rounds_done": 1}, {"rounds_done": 7}),
        ({"network": 50e6}, {"network": 1e6}),
        ({"network": 50e6}, {}),
        ({"interrupted": True, "relative_speed": 0.1, "reputation": 0.1}, {"relative_speed": 9.0}),
        ({"relative_speed": 0.1, "reputation": 0.1}, {"troubled": True, "relative_speed": 9.0}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_better_device_goes_first(better: Any, worse: Any, seed: int) -> None:
    assert named([device("b", **worse), device("a", **better)], 1, seed=seed) == ["a"]


def test_what_nobody_has_measured_counts_as_average() -> None:
    (one,) = choose([device("new")], ANYTHING, 1, 0, MONDAY_NINE)
    assert {name: one.parts[name] for name in ("speed", "availability", "network")} == {
        "speed": choice.AVERAGE,
        "availability": choice.AVERAGE,
        "network": choice.AVERAGE,
    }


def test_the_parts_are_weighed_to_one() -> None:
    assert sum(choice.WEIGHTS.values()) == pytest.approx(1)
    perfect = device("a", relative_speed=1e9, free_hours={9: 1.0}, network=1e15)
    (one,) = choose([perfect], ANYTHING, 1, 0, MONDAY_NINE)
    assert one.score == pytest.approx(1, abs=1e-3)


def test_a_device_must_stay_free_for_the_whole_round() -> None:
    early, long = device("early", free_hours={9: 1.0, 10: 0.0}), device("long", free_hours={9: 0.8, 10: 0.8})
    assert named([early, long], 1, Demand(round_seconds=60)) == ["early"]
    assert named([early, long], 1, Demand(round_seconds=3600)) == ["long"]


def test_no_owner_carries_everything() -> None:
    mine = [device(f"mine-{n}", 1, relative_speed=1.2) for n in range(9)]
    others = [device(f"other-{n}", 2 + n) for n in range(3)]
    taken = named(mine + others, 6)
    assert sum(name.startswith("mine") for name in taken) == 3


def test_what_an_owner_gives_to_other_jobs_counts_too() -> None:
    assert named([device("a", 1), device("b", 2)], 1, working={1: 1}) == ["b"]
    assert named([device("a", 1), device("b", 2)], 1, working={2: 1}) == ["a"]


def test_the_seed_alone_decides_between_equals() -> None:
    devices = [device(name) for name in "abcd"]
    first = named(devices, 4, seed=1)
    assert all(named(list(order), 4, seed=1) == first for order in permutations(devices))
    assert len({tuple(named(devices, 4, seed=seed)) for seed in range(20)}) > 1


def test_more_are_wanted_than_there_are() -> None:
    assert sorted(named([device("a"), device("b")], 5)) == ["a", "b"]
    assert named([], 5) == []


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"relative_speed": 5.0}, "Chosen because it trains faster."),
        (
            {"relative_speed": 5.0, "network": 1e9},
            "Chosen because it trains faster and its network is faster.",
        ),
        ({"free_hours": {9: 1.0}}, "Chosen because it is more likely to stay free."),
        ({"recent_work": 0.0}, "Chosen because it has worked less lately."),
        ({"reputation": 1.0}, "Chosen because its work is more reliable."),
        ({"interrupted": True}, "Chosen because it worked on this job before the interruption."),
        ({"recent_work": 3590.0}, "Chosen because no better one was free."),
    ],
)
def test_each_choice_says_what_lifts_the_device_above_the_others(facts: Any, sentence: str) -> None:
    usual = {"reputation": 0.5, "recent_work": 3600.0}
    (one,) = choose([device("a", **(usual | facts)), device("b", **usual)], ANYTHING, 1, 0, MONDAY_NINE)
    assert (one.device.name, one.sentence) == ("a", sentence)
    assert one.stored() == {"score": one.score, "parts": one.parts, "sentence": sentence}


def test_where_every_device_is_needed_that_is_the_reason() -> None:
    found = choose([device("a"), device("b")], ANYTHING, 2, 0, MONDAY_NINE)
    assert {one.sentence for one in found} == {"Chosen because every fitting device is needed."}


def test_of_very_many_the_most_promising_are_looked_at_closely() -> None:
    many = [device(f"d{n}", relative_speed=n / 1000) for n in range(1500)]
    short = choice.shortlist(many, 10, 0)
    assert len(short) == choice.CLOSELY
    assert {one.name for one in short} == {f"d{n}" for n in range(500, 1500)}
    assert "d0" in {one.name for one in choice.shortlist(many, 10, 0, keep={"d0"})}
    assert len(choice.shortlist(many, 140, 0)) == 1400
    assert choice.shortlist(many[:1000], 10, 0) == many[:1000]
