"""The formula alone: table and properties."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_server.placement import reputation
from fl_server.placement.reputation import NEUTRAL, PRIOR, Answer

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def answers(*statuses: str, days: float = 0.0, code: str = "") -> list[Answer]:
    """The newest first, a second apart."""
    return [
        Answer(status, code, NOW - timedelta(days=days, seconds=place))
        for place, status in enumerate(statuses)
    ]


def score(found: list[Answer]) -> float:
    return reputation.of(found, NOW).score


# The table of docs/reputation.md.
@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], 1.0),
        (answers(*["accepted"] * 50), 1.0),
        (answers("rejected"), 0.80),
        (answers(*["rejected"] * 4), 0.51),
        (answers(*["rejected"] * 5), 0.46),
        (answers(*["rejected"] * 5, days=7), 0.63),
        (answers(*["lost"] * 10), 0.48),
        (answers(*["rejected"] * 10, *["accepted"] * 500), 0.74),
        (answers(*["rejected"] * 25, *["accepted"] * 500), 0.49),
        (answers(*["late"] * 500), 0.58),
        (answers(*["rejected"] * 10, code="client-error"), 0.48),
    ],
)
def test_the_formula_gives_what_its_documentation_says(found: list[Answer], expected: float) -> None:
    assert score(found) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("code", sorted(NEUTRAL))
def test_what_is_not_the_devices_fault_does_not_count(code: str) -> None:
    assert score(answers(*["lost"] * 30, code=code)) == 1.0
    mixed = answers("rejected", "accepted")
    assert score([*mixed, *answers(*["lost"] * 30, code=code)]) == score(mixed)


def test_the_sentence_counts_what_counted() -> None:
    found = [*answers("rejected", "lost", "rejected", "accepted", "late"), *answers("lost", code="run-ended")]
    sentence = reputation.of(found, NOW).sentence
    assert sentence == "Its last 5 answers: 1 accepted, 2 rejected, 1 lost, 1 late."
    assert reputation.of(answers("lost"), NOW).sentence == "Its last answer: 1 lost."
    assert reputation.of([], NOW).sentence == "No answer lately."


KINDS = st.lists(
    st.tuples(
        st.sampled_from(["accepted", "rejected", "lost", "late"]),
        st.sampled_from(["", "lost", "client-error", "run-ended"]),
        st.floats(0, 80),
    ),
    max_size=60,
)


def made(kinds: list[tuple[str, str, float]]) -> list[Answer]:
    return [Answer(status, code, NOW - timedelta(days=days)) for status, code, days in kinds]


@given(KINDS)
def test_it_is_between_0_and_1_and_order_does_not_matter(kinds: Any) -> None:
    found = made(kinds)
    assert 0 < score(found) <= 1
    if len({answer.at for answer in found}) == len(found):
        assert score(found) == pytest.approx(score(found[::-1]))


@given(KINDS)
def test_another_good_answer_never_lowers_it_and_a_bad_one_never_raises_it(kinds: Any) -> None:
    found = made(kinds)
    before = score(found)
    soon = NOW + timedelta(seconds=1)
    assert score([*found, Answer("accepted", "", soon)]) >= before - 1e-9
    assert score([*found, Answer("rejected", "norm", soon)]) <= before + 1e-9


@given(KINDS, st.floats(0, 60))
def test_time_without_an_answer_heals(kinds: Any, days: float) -> None:
    found = made(kinds)
    later = reputation.of(found, NOW + timedelta(days=days)).score
    assert later >= score(found) - 1e-9


def test_a_few_bad_answers_do_not_outweigh_what_a_new_device_is_trusted_with() -> None:
    assert score(answers(*["rejected"] * int(PRIOR))) >= 0.5
