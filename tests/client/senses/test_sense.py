import logging
from typing import Any

import pytest

from fl_client.senses.sense import Sense, Unknown


class Source:
    """Says what it is told to say, or raises it."""

    def __init__(self, *says: Any) -> None:
        self.says = list(says)
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return said


def test_a_fact_is_asked_for_once_in_its_period():
    source = Source(1, 2)
    sense = Sense("numbers", "test", source, 0, period=5.0)
    assert [sense.value(at) for at in (100.0, 101.0, 104.9, 105.0)] == [1, 1, 1, 2]
    assert source.asked == 2


def test_a_fact_without_period_is_asked_for_each_time():
    sense = Sense("numbers", "test", Source(1, 2), 0)
    assert [sense.value(7.0), sense.value(7.0)] == [1, 2]


def test_a_clock_that_goes_back_does_not_freeze_a_fact():
    sense = Sense("numbers", "test", Source(1, 2), 0, period=5.0)
    assert [sense.value(100.0), sense.value(3.0)] == [1, 2]


@pytest.mark.parametrize("fault", [Unknown("no sensor"), ValueError("broken"), OSError(5, "gone")])
def test_a_sense_that_fails_gives_its_unknown_value_and_says_why(fault):
    sense = Sense("numbers", "test", Source(fault), 0)
    assert sense.value(1.0) == 0
    assert str(fault) in sense.why
    assert sense.text(2.0) == ""


def test_a_sense_that_fails_rests_and_is_asked_again():
    source = Source(Unknown("not yet"), 3)
    sense = Sense("numbers", "test", source, 0, rest=30.0)
    assert [sense.value(at) for at in (0.0, 29.0, 30.0)] == [0, 0, 3]
    assert sense.why == ""
    assert source.asked == 2


def test_a_failure_is_logged_once_and_another_one_again(caplog):
    sense = Sense("numbers", "test", Source(Unknown("a"), Unknown("a"), 1, Unknown("a"), KeyError("b")), 0)
    with caplog.at_level(logging.INFO, "constellation.senses"):
        for at in range(10):
            sense.value(float(at))
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "cannot tell (numbers): a"),
        ("WARNING", "cannot tell (numbers): KeyError: 'b'"),
    ]


def test_the_age_of_a_value_grows_until_it_is_read_again():
    sense = Sense("numbers", "test", Source(1), 0, period=5.0)
    sense.value(10.0)
    assert sense.age(12.5) == 2.5


def test_a_source_may_be_known_only_after_the_look():
    sense = Sense("numbers", lambda: "found", Source(1), 0, show=lambda n: f"{n} apples")
    assert (sense.text(0.0), sense.source) == ("1 apples", "found")
