from datetime import timedelta

import pytest

from fl_client.policy.decide import Decision
from fl_client.policy.facts import Session
from fl_client.policy.rules import Rules
from tests.client.policy.machines import NOW, ask, codes

OFFICE = Rules(train_while_in_use=False, idle_minutes=15, resume_minutes=5)


class Day:
    """A machine that is looked at again and again, as an agent does."""

    def __init__(self, rules: Rules, **facts: object) -> None:
        self.rules, self.facts = rules, facts
        self.now, self.last_input = NOW, NOW
        self.last: Decision | None = None

    def quiet(self, minutes: float) -> Decision:
        end = self.now + timedelta(minutes=minutes)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=30))
            self.look()
        assert self.last is not None
        return self.last

    def used(self, minutes: float = 0) -> Decision:
        end = self.now + timedelta(minutes=minutes)
        while self.now < end:
            self.now += timedelta(seconds=30)
            self.last_input = self.now
            self.look()
        self.last_input = self.now
        return self.look()

    def look(self) -> Decision:
        idle = (self.now - self.last_input).total_seconds()
        self.last = ask(self.rules, self.now, self.last, input_idle_seconds=idle, **self.facts)
        return self.last


@pytest.mark.parametrize(
    ("session", "idle_seconds", "in_use"),
    [
        (Session.ACTIVE, 899.0, True),
        (Session.ACTIVE, 900.0, False),
        (None, 899.0, True),
        (None, 900.0, False),
        (Session.ACTIVE, None, True),
        (None, None, True),
        (Session.LOCKED, 299.0, True),
        (Session.LOCKED, 300.0, False),
        (Session.LOCKED, None, False),
        (Session.NONE, 0.0, False),
        (Session.NONE, None, False),
    ],
)
def test_who_is_at_the_machine(session, idle_seconds, in_use):
    decision = ask(OFFICE, session=session, input_idle_seconds=idle_seconds)
    assert (decision.in_use, decision.allowed) == (in_use, not in_use)


def test_training_starts_after_the_quiet_minutes():
    day = Day(OFFICE)
    assert codes(day.quiet(0.5)) == ["in-use"]
    assert codes(day.quiet(14)) == ["quiet-too-short"]
    assert day.quiet(0.5).allowed


def test_waiting_for_quiet_ends_at_a_known_instant():
    day = Day(OFFICE)
    assert day.quiet(4).until == NOW + timedelta(minutes=15)


def test_the_first_key_press_stops_training():
    day = Day(OFFICE)
    day.quiet(15)
    assert codes(day.used()) == ["in-use"]


def test_after_a_short_visit_training_goes_on_after_fewer_quiet_minutes():
    day = Day(OFFICE)
    day.quiet(15)
    day.used(2)
    assert not day.quiet(4.5).allowed
    assert day.quiet(0.5).allowed


def test_what_goes_on_after_a_short_visit_stays_on():
    day = Day(OFFICE)
    day.quiet(15)
    day.used()
    assert all(day.quiet(minutes).allowed for minutes in (5, 2, 5, 10))


def test_after_a_long_visit_training_waits_as_for_a_start():
    day = Day(OFFICE)
    day.quiet(15)
    day.used(60)
    assert not day.quiet(14.5).allowed
    assert day.quiet(0.5).allowed


def test_a_pause_for_thought_does_not_end_a_visit():
    day = Day(OFFICE)
    day.quiet(15)
    for _ in range(5):
        day.used(1)
        assert not day.quiet(3).allowed
    assert not day.quiet(11.5).allowed
    assert day.quiet(0.5).allowed


def test_a_visit_is_remembered_until_the_owner_is_away_again():
    day = Day(OFFICE)
    assert day.quiet(15).came_back is None
    came_back = day.used().came_back
    assert day.quiet(4).came_back == came_back == NOW + timedelta(minutes=15)
    assert day.quiet(1).came_back is None


def test_a_machine_that_may_train_in_use_knows_when_its_owner_is_away():
    day = Day(Rules(train_while_in_use=True, idle_minutes=15, gpu="idle", cores_share_in_use=25))
    used = day.used(1)
    assert (used.allowed, used.in_use, used.resources.gpus, used.resources.cores) == (True, True, (), 2)
    away = day.quiet(15)
    assert (away.allowed, away.in_use, away.resources.gpus, away.resources.cores) == (True, False, (0,), 8)
    assert day.used().resources.gpus == ()


def test_no_rule_makes_a_machine_train_under_a_typing_hand():
    rules = Rules(train_while_in_use=False, idle_minutes=0)
    assert not ask(rules, input_idle_seconds=59.0).allowed
    assert ask(rules, input_idle_seconds=60.0).allowed


def test_one_quiet_time_is_meant_for_both():
    day = Day(Rules(train_while_in_use=False, idle_minutes=10))
    day.quiet(10)
    day.used()
    assert not day.quiet(9.5).allowed
    assert day.quiet(0.5).allowed


def test_a_screen_that_was_locked_counts_as_away_sooner():
    day = Day(OFFICE)
    assert not day.quiet(6).allowed
    day.facts["session"] = Session.LOCKED
    assert day.look().allowed
    day.facts["session"] = Session.ACTIVE
    assert codes(day.used()) == ["in-use"]
