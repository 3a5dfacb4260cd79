from datetime import UTC, datetime, timedelta

import pytest

from fl_client.policy.decide import Decision, Pause, decide
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules
from tests.client.policy.machines import BERLIN, NOW, ask, codes, machine

NIGHTS = Rules(
    hours=dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), ("18:00-08:00",)),
    stop_starting_minutes=30,
    clear_minutes=10,
)


def on(day: int, clock: str, month: int = 6, fold: int = 0) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN, fold=fold)


def test_the_defaults_lend_a_quiet_machine():
    decision = ask(COMPANY_DEFAULTS)
    assert (decision.allowed, decision.may_start, decision.in_use, decision.reason) == (True, True, False, "")
    assert decision.resources.gpus == (0,)


@pytest.mark.parametrize(
    ("now", "allowed", "may_start", "code", "until"),
    [
        (on(10, "17:59"), False, False, "outside-hours", on(10, "18:00")),
        (on(10, "18:00"), True, True, None, None),
        (on(11, "07:29"), True, True, None, None),
        (on(11, "07:30"), True, False, "no-new-work", None),
        (on(11, "07:49"), True, False, "no-new-work", None),
        (on(11, "07:50"), False, False, "hours-ending", on(11, "18:00")),
        (on(11, "07:59"), False, False, "hours-ending", on(11, "18:00")),
        (on(11, "08:00"), False, False, "outside-hours", on(11, "18:00")),
        (on(12, "23:00"), True, True, None, None),
        (on(13, "07:55"), False, False, "hours-ending", on(15, "18:00")),
        (on(13, "12:00"), False, False, "outside-hours", on(15, "18:00")),
    ],
)
def test_the_end_of_the_allowed_hours_is_prepared(now, allowed, may_start, code, until):
    decision = ask(NIGHTS, now)
    assert (decision.allowed, decision.may_start, decision.until) == (allowed, may_start, until)
    assert codes(decision) == ([code] if code else [])


def test_while_nothing_new_starts_the_reason_says_so():
    decision = ask(NIGHTS, on(11, "07:40"))
    assert decision.reason == "the allowed hours end at 08:00, and nothing new starts in the last 30 minutes"


@pytest.mark.parametrize(
    ("now", "code"),
    [
        # 2026-03-29: at 01:45 the clock is fifteen minutes from 03:00, not an hour and a quarter.
        (on(29, "01:29", month=3), None),
        (on(29, "01:30", month=3), "no-new-work"),
        (on(29, "01:50", month=3), "hours-ending"),
        (on(29, "03:00", month=3), "outside-hours"),
        # 2026-10-25: the hour before 03:00 comes twice, and only the second time is the last.
        (on(25, "02:45", month=10), None),
        (on(25, "02:29", month=10, fold=1), None),
        (on(25, "02:30", month=10, fold=1), "no-new-work"),
        (on(25, "02:50", month=10, fold=1), "hours-ending"),
        (on(25, "03:00", month=10), "outside-hours"),
    ],
)
def test_lead_times_are_right_when_the_clock_is_changed(now, code):
    rules = Rules(hours={"sun": ["00:00-03:00"]}, stop_starting_minutes=30, clear_minutes=10)
    assert codes(ask(rules, now)) == ([code] if code else [])


def test_hours_without_lead_times_are_used_to_the_last_minute():
    rules = Rules(hours={"wed": ["08:00-12:01"]})
    assert ask(rules).may_start


@pytest.mark.parametrize(
    ("pause", "now", "sentence"),
    [
        (Pause(), NOW, "you paused it"),
        (Pause(text="demo"), NOW, "you paused it: demo"),
        (Pause(NOW + timedelta(hours=1)), NOW, "you paused it until 13:00"),
        (Pause(NOW + timedelta(days=1), "holiday"), NOW, "you paused it until 12:00 on Thu: holiday"),
        (Pause(datetime(2026, 6, 10, 10, 30, tzinfo=UTC)), NOW, "you paused it until 12:30"),
    ],
)
def test_a_paused_machine_is_not_lent(pause, now, sentence):
    decision = decide(machine(), Rules(), now, pause=pause)
    assert (decision.allowed, decision.reason, decision.until) == (False, sentence, pause.until)


def test_a_pause_ends_at_its_instant():
    pause = Pause(NOW)
    assert not decide(machine(), Rules(), NOW - timedelta(seconds=1), pause=pause).allowed
    assert decide(machine(), Rules(), NOW, pause=pause).allowed


def test_a_pause_ends_at_its_instant_although_the_clock_was_put_back():
    pause = Pause(on(25, "02:15", month=10, fold=1))
    assert not decide(machine(), Rules(), on(25, "02:45", month=10), pause=pause).allowed
    assert decide(machine(), Rules(), on(25, "02:20", month=10, fold=1), pause=pause).allowed


def test_it_is_over_when_the_last_of_the_reasons_that_time_ends_is_over():
    rules = Rules(hours={"wed": ["18:00-24:00"]})
    short, endless = Pause(on(10, "13:00")), Pause()
    assert decide(machine(), rules, NOW, pause=short).until == on(10, "18:00")
    assert decide(machine(), rules, NOW, pause=endless).until is None
    assert ask(Rules(on_battery=False), on_ac=False).until is None


def test_times_without_their_zone_are_refused():
    naive = datetime(2026, 6, 10)
    with pytest.raises(ValueError, match="time zone"):
        decide(machine(), Rules(), naive)
    with pytest.raises(ValueError, match="time zone"):
        Pause(naive)


def test_a_decision_does_not_change_under_those_who_hold_it():
    assert isinstance(ask(Rules()), Decision)
    with pytest.raises(AttributeError):
        ask(Rules()).allowed = False
