import heapq
import itertools
import queue
import threading

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict

from strategies import exchange
from strategies.grid import DeviceGrid
from strategies.link import Signal, Stopped, Waiting

A, B, C = 1, 2, 3


class World:
    """Engine, devices' sockets and clock in one: time passes only while the grid waits for a signal."""

    def __init__(self):
        self.now = 0.0
        self._script = []
        self._order = itertools.count()
        self.signals = self
        self.stop = threading.Event()
        self._pending = []
        self.connected = {A, B, C}
        self.pushed = []
        self.answers = {}
        self.refused = set()
        self.pulls = []
        self.slow_pulls = 0.0
        self.log = []
        self.done = set()
        self.waits = []

    def at(self, when, action):
        heapq.heappush(self._script, (when, next(self._order), action))

    def signal(self, when, *args, **facts):
        self.at(when, lambda: self._pending.append(Signal(*args, **facts)))

    def clock(self):
        return self.now

    def get(self, timeout):
        """A queue's get: plays what the script has until there is a signal or the time is over."""
        self.waits.append(timeout)
        end = self.now + timeout
        while not self._pending:
            if not self._script or self._script[0][0] > end:
                self.now = end
                raise queue.Empty
            when, _, action = heapq.heappop(self._script)
            self.now = max(self.now, when)
            action()
        return self._pending.pop(0)

    def push_messages(self, messages):
        ids = []
        for message in messages:
            if message.metadata.dst_node_id in self.refused:
                ids.append(None)
                continue
            message.metadata.__dict__["_message_id"] = message_id = f"m{len(self.pushed) + 1}"
            self.pushed.append((message, self.now))
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids):
        ids = list(message_ids)
        self.pulls.append((self.now, ids))
        self.now += self.slow_pulls
        return [self.answers.pop(message_id) for message_id in ids if message_id in self.answers]

    def answer(self, when, node, nth=-1, tell=True, error=False):
        """The device's reply to the nth message that it was sent lies in the engine."""

        def reply():
            message = [m for m, _ in self.pushed if m.metadata.dst_node_id == node][nth]
            content = Error(5, "offline") if error else RecordDict()
            self.answers[message.metadata.message_id] = Message(content, reply_to=message)
            self.done.add(node)
            if tell:
                self._pending.append(Signal("uploaded", node, int(message.metadata.group_id)))

        self.at(when, reply)

    def leave(self, when, node):
        self.at(when, lambda: self.connected.discard(node))
        self.signal(when, "gone", node)

    def come_back(self, when, node, in_hand=None):
        self.at(when, lambda: self.connected.add(node))
        self.signal(when, "ready", node, in_hand)

    def ready(self):
        return set(self.connected)

    def wake(self, node, round):
        """A device that is done says so again."""
        self.log.append(("wake", node, round, self.now))
        if node in self.done:
            self._pending.append(Signal("uploaded", node, round))

    def abandon(self, node, round):
        self.log.append(("abandon", node, round))

    def resent(self, node, round, attempts):
        self.log.append(("resent", node, round, attempts))

    def late(self, node, round):
        self.log.append(("late", node, round))

    def lost(self, node, round, reason):
        self.log.append(("lost", node, round, reason))

    def said(self, kind):
        return [entry[1:] for entry in self.log if entry[0] == kind]

    def attempts(self, node):
        return sum(m.metadata.dst_node_id == node for m, _ in self.pushed)


@pytest.fixture
def world():
    return World()


def grid_of(world, **waiting):
    return DeviceGrid(world, world, Waiting(**{"deadline": 60.0, **waiting}), clock=world.clock)


def messages(*nodes, round=4):
    content = RecordDict({"fit": ConfigRecord({"weights": b"model"})})
    return [Message(content, node, "train", group_id=str(round)) for node in nodes or (A, B, C)]


def run(grid, sent):
    """(node, error text or None) in the order of arrival."""
    return [
        (reply.metadata.src_node_id, reply.error.reason if reply.has_error() else None)
        for reply in grid.send_and_receive(sent)
    ]


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


def test_a_failure_is_an_error_reply_and_one_of_another_round_is_not(world):
    world.signal(1.0, "failed", A, 3, "of the round before")
    world.signal(2.0, "failed", A, 4, "diverged: NaN")
    world.signal(3.0, "failed", B, None, "data-missing: no rows")
    assert run(grid_of(world), messages(A, B)) == [(A, "diverged: NaN"), (B, "data-missing: no rows")]


def test_sending_again_has_an_end_when_the_device_keeps_losing_its_task(world):
    for when in (1.0, 2.0, 3.0, 4.0):
        world.come_back(when, A)
    assert run(grid_of(world), messages(A)) == []
    assert world.attempts(A) == exchange.MAX_ATTEMPTS
    assert world.said("lost") == [(A, 4, "It lost its task 3 times.")]


def test_a_node_that_the_engine_refuses_is_given_up_and_holds_nobody_up(world):
    world.refused = {A}
    world.answer(10.0, B)
    assert run(grid_of(world), messages(A, B)) == [(B, None)]
    assert world.said("lost") == [(A, 4, "It lost its task 3 times.")]
    assert world.now == 10.0


def test_a_silent_device_is_woken_again_and_again(world):
    world.answer(7.5, A)
    run(grid_of(world), messages(A))
    assert [when for _, _, when in world.said("wake")] == [0.0, 3.0, 6.0]


def test_ready_signals_from_before_the_push_do_not_send_twice(world):
    grid = grid_of(world)
    for node in (A, B, C):
        world.come_back(0.0, node)
    assert grid.gather(lambda: {A, B, C}, 1) == [A, B, C]
    for node in (A, B, C):
        world.answer(2.0, node)
    assert len(run(grid, messages())) == 3
    assert len(world.pushed) == 3


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


class TestGather:
    def test_the_first_round_waits_for_every_reserved_device(self, world):
        world.connected = {A}
        world.come_back(4.0, B)
        world.come_back(9.0, C)
        assert grid_of(world).gather(lambda: {A, B, C}, 1) == [A, B, C]
        assert world.now == 9.0

    def test_the_first_round_begins_without_a_device_that_never_comes(self, world):
        world.connected = {A, B}
        assert grid_of(world, join=30.0).gather(lambda: {A, B, C}, 1) == [A, B]
        assert 30.0 <= world.now < 31.0

    def test_a_later_round_takes_whoever_is_there(self, world):
        grid = grid_of(world)
        grid.gather(lambda: {A, B, C}, 1)
        world.connected = {A, C}
        now = world.now
        assert grid.gather(lambda: {A, B, C}, 2) == [A, C]
        assert world.now == now

    def test_a_later_round_waits_for_the_number_that_it_needs(self, world):
        grid = grid_of(world)
        grid.gather(lambda: {A, B, C}, 1)
        world.connected = {A}
        world.come_back(5.0, B)
        assert grid.gather(lambda: {A, B, C}, 2) == [A, B]
        assert world.now == 5.0

    def test_it_returns_fewer_than_needed_when_the_time_is_over(self, world):
        world.connected = set()
        assert grid_of(world, deadline=10.0).gather(lambda: {A}, 1) == []
        assert 10.0 <= world.now < 11.0

    def test_devices_that_can_no_longer_do_the_work_are_left_out(self, world):
        assert grid_of(world).gather(lambda: {A, B}, 1) == [A, B]

    def test_it_stops_when_the_run_is_cancelled(self, world):
        world.connected = set()
        world.at(1.0, world.stop.set)
        with pytest.raises(Stopped):
            grid_of(world).gather(lambda: {A}, 1)
        assert world.now <= 1.5
