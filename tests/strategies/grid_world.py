"""What surrounds the grid: an engine, devices with their sockets, and a clock that only waiting moves."""

import heapq
import itertools
import queue
import threading

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict

from strategies.grid import DeviceGrid
from strategies.link import Signal, Waiting

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
        self.hands_in = set()
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

    def park(self, when, node, round=4):
        """The owner is back: the device is there, but not to be worked with."""
        self.at(when, lambda: self.connected.discard(node))
        self.signal(when, "parked", node, round)

    def finish(self, node, round):
        """A parked device hands in what it has, unless it went on or has gone."""
        self.log.append(("finish", node, round, self.now))
        if node in self.hands_in:
            self.answer(self.now + 1.0, node)

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
