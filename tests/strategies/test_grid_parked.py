"""Devices whose owners come back in the middle of a round."""

from strategies.link import Signal

from .grid_world import A, B, C, grid_of, messages, run, world

__all__ = ["world"]


def test_a_parked_device_is_waited_for_and_not_given_up_as_absent(world):
    world.answer(1.0, A)
    world.answer(2.0, B)
    world.park(1.0, C)
    world.at(12.0, lambda: world.connected.add(C))
    world.signal(12.0, "ready", C, 4)
    world.answer(30.0, C)
    assert run(grid_of(world), messages()) == [(A, None), (B, None), (C, None)]
    assert world.said("lost") == world.said("finish") == []
    assert world.attempts(C) == 1


def test_what_a_parked_device_did_is_asked_for_when_the_round_closes(world):
    world.hands_in = {C}
    world.answer(1.0, A)
    world.answer(2.0, B)
    world.park(1.0, C)
    assert run(grid_of(world, quorum=2, grace=5.0), messages()) == [(A, None), (B, None), (C, None)]
    assert [(node, round) for node, round, _ in world.said("finish")] == [(C, 4)]
    assert 7.0 <= world.now < 9.0


def test_a_round_does_not_wait_for_its_deadline_when_only_parked_devices_are_left(world):
    world.hands_in = {C}
    world.answer(1.0, A)
    world.answer(2.0, B)
    world.park(3.0, C)
    assert len(run(grid_of(world, deadline=600.0, patience=15.0), messages())) == 3
    assert world.now < 25.0


def test_a_parked_device_that_hands_in_nothing_is_lost_after_a_while(world):
    world.answer(1.0, A)
    world.park(1.0, B)
    world.park(1.0, C)
    assert run(grid_of(world, deadline=600.0), messages()) == [(A, None)]
    assert {entry[0] for entry in world.said("lost")} == {B, C}
    assert world.now < 40.0


def test_at_the_deadline_too_parked_devices_are_asked(world):
    world.hands_in = {B}
    world.answer(1.0, A)
    world.park(8.0, B)
    assert run(grid_of(world, deadline=10.0), messages(A, B)) == [(A, None), (B, None)]


def test_a_device_that_did_nothing_before_its_owner_came_is_not_waited_for(world):
    world.answer(1.0, A)
    world.signal(2.0, "failed", B, 4, "owner-returned: The owner came back.")
    assert run(grid_of(world), messages(A, B)) == [(A, None), (B, "owner-returned: The owner came back.")]
    assert world.now < 3.0


def test_a_parked_device_whose_connection_breaks_is_lost_like_any_other(world):
    world.answer(1.0, A)
    world.park(2.0, B)
    world.signal(3.0, "gone", B)
    assert run(grid_of(world, patience=5.0, deadline=100.0), messages(A, B)) == [(A, None)]
    assert [entry[0] for entry in world.said("lost")] == [B]
    assert world.now < 25.0


def test_a_rejected_reply_does_not_help_to_close_the_round(world):
    world.answer(1.0, A)
    world.answer(2.0, B)
    world.answer(3.0, C)
    grid = grid_of(world, quorum=2)
    seen = []
    for reply in grid.send_and_receive(messages()):
        seen.append(reply.metadata.src_node_id)
        if seen == [A]:
            grid.discount()
    assert seen == [A, B, C]


def test_a_late_answer_is_noticed_between_two_rounds(world):
    grid = grid_of(world, deadline=5.0)
    world.answer(1.0, A)
    assert run(grid, messages(A, B)) == [(A, None)]
    world.answer(world.now + 1.0, B)
    world.connected = {A}
    world.at(world.now + 2.0, lambda: world.connected.add(C))
    world._pending.append(Signal("ready", C, None))
    grid.gather(lambda: {A, C}, 2)
    assert world.said("late") == [(B, 4)]


def test_where_too_few_are_able_the_next_round_does_not_wait_for_a_whole_deadline(world):
    grid = grid_of(world, deadline=600.0, patience=15.0)
    world.connected = {A}
    assert grid.gather(lambda: {A}, 2) == [A]
    assert 15.0 <= world.now < 17.0
