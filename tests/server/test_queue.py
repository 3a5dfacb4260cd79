"""The order of the queue, who holds devices, and when a job's turn comes. Pure: no database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fl_server.placement import queue
from fl_server.placement.queue import Asked, Ending, Move, Turn, forecast
from fl_server.placement.quotas import Book, Limit

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def worth(priority: int, hours: float) -> float:
    return queue.effective_priority(priority, NOW - timedelta(hours=hours), NOW)


def test_an_urgent_job_goes_before_one_that_has_waited_for_some_hours() -> None:
    assert worth(100, 0) > worth(0, 9.9)
    assert worth(5, 0) > worth(0, 0.4)


def test_nobody_starves() -> None:
    assert worth(0, 10.1) > worth(100, 0)
    assert worth(-100, 20.1) > worth(100, 0)


@pytest.mark.parametrize(
    ("not_before", "history", "senior", "queued"),
    [
        (None, [], -100, -100),
        (None, [("queued", -100, False)], -100, -100),
        (-30, [("queued", -100, False)], -30, -30),
        # A run failed: the place stays, the patience begins anew.
        (None, [("queued", -100, False), ("running", -90, True), ("queued", -10, True)], -100, -10),
        (-9, [("queued", -100, False), ("running", -90, True), ("queued", -10, True)], -100, -9),
        # A person resumed it.
        (None, [("queued", -100, False), ("paused", -90, False), ("queued", -5, False)], -5, -5),
        # A remark in between is no move.
        (None, [("queued", -100, False), ("queued", -20, False)], -100, -100),
    ],
)
def test_a_job_waits_since_it_came_to_the_queue(
    not_before: Any, history: Any, senior: float, queued: float
) -> None:
    moves = [Move(status, at(minute), by_run) for status, minute, by_run in history]
    due = None if not_before is None else at(not_before)
    assert queue.turn(at(-100), due, moves) == Turn(at(senior), at(queued))


@pytest.mark.parametrize(
    ("waited", "needed", "fit", "working", "holds"),
    [
        (61, 5, 3, 2, True),
        (59, 5, 3, 2, False),
        (61, 5, 3, 1, False),  # somebody else keeps the rest away: no run's end helps
        (61, 5, 0, 5, False),
        (61, 5, 5, 0, False),
    ],
)
def test_who_waited_long_holds_what_fits_if_only_runs_keep_the_rest(
    waited: float, needed: int, fit: int, working: int, holds: bool
) -> None:
    since = at(-waited)
    assert queue.may_hold(Turn(since, since), NOW, needed, fit, working) is holds


def asked(pk: int, needed: int, fit: int, able: int, selected: int = 0, **more: Any) -> Asked:
    return Asked(pk, needed, selected or needed, fit, able, **more)


def starts(found: Any) -> dict[int, float | None]:
    return {
        pk: None if one.start is None else (one.start - NOW).total_seconds() / 60 for pk, one in found.items()
    }


def test_a_job_starts_when_enough_devices_come_back() -> None:
    running = [Ending(at(30), 2), Ending(at(10), 2), Ending(None, 9)]
    found = forecast(NOW, 1, 4, running, [asked(1, 3, 1, 5), asked(2, 2, 0, 5, seconds=60.0)])
    assert starts(found) == {1: 10, 2: 30}
    assert found[2].end == at(31)


def test_a_job_starts_when_a_run_may_be_added() -> None:
    found = forecast(NOW, 9, 0, [Ending(at(5), 1)], [asked(1, 2, 9, 9, seconds=120.0), asked(2, 2, 9, 9)])
    assert starts(found) == {1: 5, 2: 7}


def test_the_end_of_a_queued_job_lets_the_next_one_start() -> None:
    queue_of_two = [asked(1, 4, 4, 4, seconds=600.0), asked(2, 3, 4, 4, seconds=60.0)]
    found = forecast(NOW, 4, 4, [], queue_of_two)
    assert starts(found) == {1: 0, 2: 10}
    assert found[2].end == at(11)


def test_what_cannot_be_told_is_not_told() -> None:
    assert starts(forecast(NOW, 1, 4, [Ending(None, 5)], [asked(1, 3, 1, 6)])) == {1: None}


def test_a_job_that_too_few_devices_could_take_stands_in_nobodys_way() -> None:
    assert starts(forecast(NOW, 3, 4, [], [asked(1, 5, 3, 4), asked(2, 2, 3, 3)])) == {1: None, 2: 0}


def test_who_waits_for_a_quota_starts_when_its_runs_end_and_holds_up_nobody() -> None:
    running = [Ending(at(5), 1), Ending(at(20), 1)]
    held = asked(1, 1, 9, 9, seconds=60.0, not_before=at(20))
    found = forecast(NOW, 9, 9, running, [held, asked(2, 9, 9, 9, seconds=600.0)])
    assert starts(found) == {1: 20, 2: 0}
    assert found[1].end == at(21)


def test_no_job_goes_on_after_its_deadline() -> None:
    first = asked(1, 2, 2, 2, seconds=3600.0, until=at(10))
    found = forecast(NOW, 2, 4, [], [first, asked(2, 2, 2, 2), asked(3, 2, 2, 2, until=at(5))])
    assert found[1].end == at(10)
    assert starts(found) == {1: 0, 2: 10, 3: None}


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        (None, None, False),
        (None, at(1), True),
        (at(1), None, True),
        (at(1), at(1.9), False),
        (at(1), at(2.1), True),
        (at(100), at(109), False),
        (at(100), at(112), True),
    ],
)
def test_only_a_noticeable_change_is_written(before: Any, after: Any, differs: bool) -> None:
    assert queue.differs(before, after, NOW) is differs


ANNA, BERT, TEAM = Limit("Anna", frozenset({1}), 2, 10), Limit("Bert", frozenset({2})), frozenset({1, 2})


def test_without_a_limit_there_is_room_for_everything() -> None:
    for book in (Book(), Book((BERT,), {2: 9}, {2: 999})):
        room = book.room(2, 500)
        assert room.allows(500)
        assert room.devices is None


def test_a_person_holds_no_more_than_the_quota() -> None:
    book = Book((ANNA,), {1: 1}, {1: 6})
    assert book.room(1, 4).allows(4)
    tight = book.room(1, 5)
    assert not tight.allows(5)
    assert tight.reason == "Waits for Anna: 6 of 10 devices are in use, and it needs 5."
    assert not tight.never(5)
    assert book.room(1, 11).never(11)


def test_what_is_placed_is_counted_at_once() -> None:
    book = Book((ANNA,), {1: 1}, {1: 6})
    book.take(1, 4)
    room = book.room(1, 1)
    assert not room.allows(1)
    assert room.reason == "Waits for Anna: 2 of 2 jobs run already."


@pytest.mark.parametrize(
    ("limit", "held", "reason"),
    [
        ((1, None), 1, "1 of 1 job runs already."),
        ((1, None), 2, "2 of 1 jobs run already."),
        ((0, None), 0, "it allows no jobs."),
        ((None, 1), 1, "1 of 1 device is in use, and it needs 1."),
        ((None, 0), 0, "0 of 0 devices are in use, and it needs 1."),
    ],
)
def test_the_reason_counts_in_proper_words(limit: Any, held: int, reason: str) -> None:
    book = Book((Limit("Anna", frozenset({1}), *limit),), {1: held}, {1: held})
    assert book.room(1, 1).reason == f"Waits for Anna: {reason}"


def test_a_quota_opens_with_the_end_of_the_first_run_that_gives_back_enough() -> None:
    book = Book((ANNA, Limit("the team", TEAM, 3, None)), {1: 2, 2: 2}, {1: 9, 2: 5})
    endings = [Ending(at(40), 4, 1), Ending(at(10), 3, 2), Ending(None, 5, 1), Ending(at(20), 2, 2)]
    assert book.opens(1, 1, endings) == at(40)
    assert book.opens(2, 1, endings) == at(20)
    assert book.opens(1, 11, endings) is None
    assert (book.jobs, book.devices) == ({1: 2, 2: 2}, {1: 9, 2: 5})


def test_the_strictest_of_all_limits_counts() -> None:
    book = Book((ANNA, Limit("the team", TEAM, None, 8)), {}, {1: 1, 2: 5})
    assert book.room(1, 1).devices == 2
    assert book.room(2, 1).devices == 2
    assert book.room(3, 1).devices is None
