"""One exchange with the devices of a round: how answers come in, and what closes it."""

import pytest

from strategies import exchange
from strategies.link import Stopped

from .grid_world import A, B, C, grid_of, messages, run, world

__all__ = ["world"]


def test_replies_come_out_as_they_come_in_and_the_round_ends_with_the_last(world):
    for when, node in ((3.0, B), (1.5, C), (2.0, A)):
        world.answer(when, node)
    arrived = []
    for reply in grid_of(world).send_and_receive(messages()):
        arrived.append((reply.metadata.src_node_id, world.now))
    assert arrived == [(C, 1.5), (A, 2.0), (B, 3.0)]
    assert world.now == 3.0
    assert world.said("lost") == world.said("abandon") == []


def test_every_device_is_woken_right_after_its_message_is_pushed(world):
    for node in (A, B, C):
        world.answer(0.5, node)
    run(grid_of(world), messages())
    assert world.said("wake") == [(A, 4, 0.0), (B, 4, 0.0), (C, 4, 0.0)]


def test_no_messages_make_no_exchange(world):
    assert list(grid_of(world).send_and_receive([])) == []
    assert world.now == 0.0


def test_the_quorum_and_a_grace_period_close_the_round(world):
    world.answer(1.0, A)
    world.answer(2.0, B)
    world.answer(9.0, C)
    assert run(grid_of(world, quorum=2, grace=3.0), messages()) == [(A, None), (B, None)]
    assert world.now == 5.0
    assert world.said("abandon") == [(C, 4)]
    assert world.said("lost") == [(C, 4, "The round closed without it.")]


def test_a_failed_device_does_not_count_for_the_quorum(world):
    world.signal(1.0, "failed", A, 4, "out-of-memory: too big")
    world.answer(2.0, B)
    world.answer(2.5, C)
    assert run(grid_of(world, quorum=2), messages()) == [
        (A, "out-of-memory: too big"),
        (B, None),
        (C, None),
    ]


def test_the_deadline_closes_the_round_and_tells_the_silent_ones_to_abandon(world):
    world.answer(1.0, A)
    assert run(grid_of(world, deadline=20.0), messages()) == [(A, None)]
    assert world.now == 20.0
    assert world.said("abandon") == [(B, 4), (C, 4)]
    assert world.said("lost") == [(n, 4, "It did not answer within 20 s.") for n in (B, C)]


def test_a_failure_is_an_error_reply_and_one_of_another_round_is_not(world):
    world.signal(1.0, "failed", A, 3, "of the round before")
    world.signal(2.0, "failed", A, 4, "diverged: NaN")
    world.signal(3.0, "failed", B, None, "data-missing: no rows")
    assert run(grid_of(world), messages(A, B)) == [(A, "diverged: NaN"), (B, "data-missing: no rows")]


def test_a_silent_device_is_woken_again_and_again(world):
    world.answer(7.5, A)
    run(grid_of(world), messages(A))
    assert [when for _, _, when in world.said("wake")] == [0.0, 3.0, 6.0]


def test_a_failure_from_between_gathering_and_the_push_is_not_forgotten(world):
    world.signal(0.0, "failed", A, None, "worker-died: again")
    world.answer(1.0, B)
    assert run(grid_of(world), messages(A, B)) == [(A, "worker-died: again"), (B, None)]


def test_a_late_reply_is_counted_as_late_in_a_later_round_and_never_folded(world):
    grid = grid_of(world, quorum=1)
    world.answer(1.0, A)
    assert run(grid, messages(A, B)) == [(A, None)]
    world.answer(1.5, B, nth=0)
    world.answer(2.0, A)
    world.answer(2.2, B, nth=1)
    grid = run(grid, messages(A, B, round=5))
    assert grid == [(A, None)]
    assert world.said("late") == [(B, 4)]


def test_replies_of_long_closed_rounds_are_not_asked_for_any_more(world):
    grid = grid_of(world, quorum=1)
    start = 0.0
    world.answer(1.0, A)
    run(grid, messages(A, B, round=1))
    forgotten = world.pushed[1][0].metadata.message_id
    for number in range(2, 2 + exchange.LATE_ROUNDS):
        start = world.now
        world.answer(start + 2.0, A)
        run(grid, messages(A, round=number))
    world.pulls.clear()
    world.answer(world.now + 2.0, A)
    run(grid, messages(A, round=9))
    assert world.pulls
    assert all(forgotten not in ids for _, ids in world.pulls)


def test_a_cancelled_run_stops_within_a_second(world):
    world.at(2.5, world.stop.set)
    with pytest.raises(Stopped):
        run(grid_of(world), messages())
    assert world.now <= 2.5 + exchange.CHECK_EVERY


def test_no_wait_is_longer_than_a_second(world):
    world.leave(3.0, A)
    world.answer(30.0, B)
    run(grid_of(world, deadline=40.0), messages())
    assert len(world.waits) > 10
    assert max(world.waits) <= exchange.CHECK_EVERY


def test_an_answer_whose_signal_was_lost_is_told_of_again_at_the_next_wake_up(world):
    world.answer(0.2, A, tell=False)
    assert run(grid_of(world), messages(A)) == [(A, None)]
    assert world.now <= exchange.WAKE_AGAIN + exchange.CHECK_EVERY


def test_an_answer_that_no_signal_ever_told_of_is_found_at_the_deadline(world):
    world.connected = set()
    world.answer(5.0, A, tell=False)
    assert run(grid_of(world, deadline=20.0, patience=30.0), messages(A)) == [(A, None)]
    assert world.said("lost") == []


def test_looking_once_more_at_the_deadline_does_not_take_for_ever(world):
    nodes = list(range(1, 8))
    world.connected = set()
    world.slow_pulls = 4.0
    assert run(grid_of(world, deadline=20.0, patience=30.0), messages(*nodes)) == []
    assert world.now <= 20.0 + exchange.LAST_LOOK + 4.0
    assert len(world.said("lost")) == len(nodes)


def test_nobody_is_asked_for_an_answer_before_it_says_that_it_is_there(world):
    """An answer that is still on its way would hold up everybody else's."""
    world.answer(20.0, A)
    world.answer(25.0, B)
    run(grid_of(world), messages(A, B))
    assert [when for when, _ in world.pulls] == [20.0, 25.0]


def test_answers_are_pulled_one_at_a_time_and_not_before_the_last_one_is_taken(world):
    nodes = list(range(1, 12))
    world.connected = set(nodes)
    for node in nodes:
        world.answer(0.5, node, tell=False)
        world.signal(0.6, "uploaded", node, 4)
    taken = 0
    for _ in grid_of(world).send_and_receive(messages(*nodes)):
        taken += 1
        assert len(nodes) - len(world.answers) == taken
    assert taken == len(nodes)
