"""Devices that leave and come back, and answers that the engine lost."""

import pytest

from strategies import exchange

from .grid_world import A, B, C, grid_of, messages, run, world

__all__ = ["world"]


@pytest.mark.parametrize("answered", [0, 1])
def test_a_device_that_is_back_within_its_patience_is_sent_to_again_and_either_reply_counts_once(
    world, answered
):
    world.leave(1.0, A)
    world.come_back(8.0, A)
    world.answer(10.0, A, nth=answered)
    world.answer(11.0, A, nth=1 - answered)
    world.answer(12.0, B)
    assert run(grid_of(world), messages(A, B)) == [(A, None), (B, None)]
    first, again = [m for m, _ in world.pushed if m.metadata.dst_node_id == A]
    assert first.metadata.message_id != again.metadata.message_id
    assert (again.metadata.group_id, again.metadata.ttl) == (first.metadata.group_id, first.metadata.ttl)
    assert again.content is first.content
    assert world.said("resent") == [(A, 4, 2)]
    assert world.said("lost") == []


def test_a_device_that_comes_back_with_the_round_in_hand_is_left_to_its_work(world):
    world.leave(1.0, A)
    world.come_back(5.0, A, in_hand=4)
    world.answer(30.0, A)
    assert run(grid_of(world), messages(A)) == [(A, None)]
    assert world.attempts(A) == 1


def test_a_device_that_comes_back_with_an_older_round_is_told_to_abandon_it(world):
    world.come_back(1.0, A, in_hand=3)
    world.answer(2.0, A)
    assert run(grid_of(world), messages(A)) == [(A, None)]
    assert world.said("abandon") == [(A, 3)]
    assert world.attempts(A) == 2


def test_a_device_that_is_away_for_longer_is_lost_while_the_others_go_on(world):
    world.leave(1.0, A)
    world.answer(40.0, B)
    assert run(grid_of(world, patience=10.0), messages(A, B)) == [(B, None)]
    assert world.said("lost") == [(A, 4, "It was away for over 10 s.")]


def test_a_disconnection_that_no_signal_told_of_is_noticed_by_looking(world):
    world.at(1.0, lambda: world.connected.discard(A))
    assert run(grid_of(world, patience=10.0), messages(A)) == []
    assert world.now <= 13.0


def test_a_return_that_no_signal_told_of_is_noticed_by_looking(world):
    world.leave(1.0, A)
    world.at(5.0, lambda: world.connected.add(A))
    world.answer(40.0, A)
    assert run(grid_of(world, patience=10.0), messages(A)) == [(A, None)]


def test_a_device_that_is_taken_out_of_the_run_is_lost_at_once(world):
    world.signal(1.0, "gone", A, final=True)
    assert run(grid_of(world), messages(A)) == []
    assert world.now == 1.0
    assert world.said("lost") == [(A, 4, "It was taken out of the run.")]


def test_sending_again_has_an_end_when_the_device_keeps_losing_its_task(world):
    for when in (1.0, 2.0, 3.0, 4.0):
        world.come_back(when, A)
    assert run(grid_of(world), messages(A)) == []
    assert world.attempts(A) == exchange.MAX_ATTEMPTS
    assert world.said("lost") == [
        (A, 4, "It lost what it was sent 3 times: its program or its connection breaks off.")
    ]


def test_a_node_that_the_engine_refuses_is_given_up_and_holds_nobody_up(world):
    world.refused = {A}
    world.answer(10.0, B)
    assert run(grid_of(world), messages(A, B)) == [(B, None)]
    assert world.said("lost") == [
        (A, 4, "It lost what it was sent 3 times: its program or its connection breaks off.")
    ]
    assert world.now == 10.0


def test_ready_signals_from_before_the_push_do_not_send_twice(world):
    grid = grid_of(world)
    for node in (A, B, C):
        world.come_back(0.0, node)
    assert grid.gather(lambda: {A, B, C}, 1) == [A, B, C]
    for node in (A, B, C):
        world.answer(2.0, node)
    assert len(run(grid, messages())) == 3
    assert len(world.pushed) == 3


def test_an_answer_that_got_lost_in_the_engine_is_asked_for_again_with_a_new_message(world):
    world.answer(0.5, A, error=True)
    world.answer(3.0, A)
    assert run(grid_of(world), messages(A)) == [(A, None)]
    (first, _), (second, when) = world.pushed
    assert first.metadata.message_id != second.metadata.message_id
    assert when == pytest.approx(exchange.CHECK_EVERY)
    assert world.said("resent") == [(A, 4, 2)]


def test_what_got_lost_is_sent_again_when_its_device_is_back_and_not_before(world):
    world.answer(0.5, A, error=True)
    world.leave(0.6, A)
    world.at(7.0, lambda: world.connected.add(A))
    world.answer(9.0, A)
    assert run(grid_of(world), messages(A)) == [(A, None)]
    assert [when for _, when in world.pushed] == [0.0, 7.0]


def test_sending_again_has_an_end_when_the_engine_keeps_losing_the_answers(world):
    for when in (0.5, 1.5, 2.5):
        world.answer(when, A, error=True)
    assert run(grid_of(world), messages(A)) == []
    assert world.attempts(A) == exchange.MAX_ATTEMPTS
