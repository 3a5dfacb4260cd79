"""A grid whose exchange never hangs: devices are woken, watched, sent to again, and given up.

Flower's own `send_and_receive` polls every three seconds and waits for every reply. This one takes replies as
they arrive, is told by signals when to look, repeats what a device lost, and closes the round at the quorum plus
a grace period or at the deadline, whichever is first.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from flwr.app import Error, Message
from flwr.serverapp import Grid

from strategies.exceptions import StrategyError

# Signals say when to look; looking anyway this often covers a lost one. Seconds.
POLL = 1.0
# A wake-up that nobody answered is repeated this often. Seconds.
WAKE_AGAIN = 3.0
MAX_ATTEMPTS = 3
PULLED_AT_ONCE = 4
# Replies that come after their round closed are counted for so many rounds.
LATE_ROUNDS = 3
CLIENT_FAILED = 1000


class Stopped(StrategyError):
    """The run is to end now: it was cancelled, or lost its lease."""


@dataclass(frozen=True)
class Signal:
    """What a device's socket told: `ready`, `uploaded`, `failed` or `gone`."""

    kind: Literal["ready", "uploaded", "failed", "gone"]
    node: int
    round: int | None = None  # ready: the round that the device has in hand
    message: str = ""
    final: bool = False  # gone: it will not come back


class Link(Protocol):
    """How the grid reaches the devices beside the engine."""

    signals: "queue.SimpleQueue[Signal]"
    stop: threading.Event

    def ready(self) -> set[int]:
        """Nodes that are connected and warm now."""

    def wake(self, node: int, round: int) -> None: ...
    def abandon(self, node: int, round: int) -> None: ...
    def resent(self, node: int, round: int, attempts: int) -> None: ...
    def late(self, node: int, round: int) -> None: ...
    def lost(self, node: int, round: int, reason: str) -> None: ...


@dataclass(frozen=True)
class Waiting:
    """How long a round waits. Seconds; `quorum` None means every device that is not lost."""

    deadline: float
    quorum: int | None = None
    grace: float = 0.0
    patience: float = 15.0  # for a device whose connection broke to come back
    join: float = 30.0  # for all reserved devices before the first round


@dataclass
class _Open:
    message: Message
    ids: list[str] = field(default_factory=list)
    gone_since: float | None = None
    woken: float = 0.0


class DeviceGrid(Grid):
    def __init__(
        self, inner: Grid, link: Link, waiting: Waiting, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._inner = inner
        self._link = link
        self._waiting = waiting
        self._clock = clock
        self._late: dict[str, tuple[int, int]] = {}
        self._joined = False

    def set_run(self, run):  # type: ignore[no-untyped-def]
        self._inner.set_run(run)

    @property
    def run(self):  # type: ignore[no-untyped-def]
        return self._inner.run

    def create_message(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        return self._inner.create_message(*args, **kwargs)

    def get_node_ids(self) -> Iterable[int]:
        return self._inner.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._inner.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._inner.pull_messages(message_ids)

    def gather(self, reserved: Callable[[], set[int]], needed: int) -> list[int]:
        """Wait for the devices of the next round: all of them before the first, afterwards whoever is there.

        Returns what there is when the time is over, which may be fewer than `needed`.
        """
        start = self._clock()
        while True:
            ready, wanted = self._link.ready(), reserved()
            waited = self._clock() - start
            patience = self._waiting.patience if self._joined else self._waiting.join
            everyone = ready >= wanted
            enough = len(ready) >= needed and (self._joined or waited >= self._waiting.join)
            if everyone or enough or waited >= max(patience, min(self._waiting.deadline, self._waiting.join)):
                self._joined = True
                return sorted(ready)
            self._check_stop()
            self._next_signal(0.25)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Replies as they come. An error reply stands for a device that could not do its part."""
        sent = list(messages)
        return self._exchange(sent) if sent else []

    def _exchange(self, messages: list[Message]) -> Iterator[Message]:
        round_number = int(messages[0].metadata.group_id)
        deadline = self._clock() + self._waiting.deadline
        open_ones = {message.metadata.dst_node_id: _Open(message) for message in messages}
        quorum = min(self._waiting.quorum or len(open_ones), len(open_ones))
        quorum_at: float | None = None
        answered = 0
        self._push(open_ones, round_number)
        next_poll = self._clock() + POLL
        while open_ones and self._clock() < deadline:
            self._check_stop()
            wait = min(next_poll, deadline) - self._clock()
            replies = list(self._handle(self._next_signal(wait), open_ones, round_number))
            if self._clock() >= next_poll:
                replies += self._poll(open_ones)
                self._give_up_lost(open_ones, round_number)
                self._wake_silent(open_ones, round_number)
                next_poll = self._clock() + POLL
            while replies:
                answered += 0 if replies[0].has_error() else 1
                yield replies.pop(0)
            if answered >= quorum and quorum_at is None:
                quorum_at = self._clock()
            if quorum_at is not None and self._clock() >= quorum_at + self._waiting.grace:
                break
            if quorum_at is not None:
                next_poll = min(next_poll, quorum_at + self._waiting.grace)
        self._close(open_ones, round_number, deadline)

    def _push(self, open_ones: dict[int, _Open], round_number: int) -> None:
        entries = list(open_ones.values())
        ids = self._inner.push_messages([entry.message for entry in entries])
        for entry, message_id in zip(entries, ids, strict=True):
            if message_id:
                entry.ids.append(message_id)
        for node, entry in open_ones.items():
            entry.woken = self._clock()
            self._link.wake(node, round_number)

    def _next_signal(self, wait: float) -> Signal | None:
        try:
            return self._link.signals.get(timeout=max(0.0, wait))
        except queue.Empty:
            return None

    def _handle(
        self, signal: Signal | None, open_ones: dict[int, _Open], round_number: int
    ) -> Iterator[Message]:
        entry = open_ones.get(signal.node) if signal else None
        if signal is None or entry is None:
            return
        if signal.kind == "uploaded" and signal.round == round_number:
            yield from self._pull({message_id: signal.node for message_id in entry.ids}, open_ones)
        elif signal.kind == "failed" and signal.round in (None, round_number):
            del open_ones[signal.node]
            yield Message(Error(CLIENT_FAILED, signal.message), reply_to=entry.message)
        elif signal.kind == "gone":
            entry.gone_since = entry.gone_since or self._clock()
            if signal.final:
                self._lose(open_ones, signal.node, round_number, "It was taken out of the run.")
        elif signal.kind == "ready":
            entry.gone_since = None
            if signal.round != round_number:
                yield from self._send_again(open_ones, signal.node, round_number)

    def _send_again(self, open_ones: dict[int, _Open], node: int, round_number: int) -> Iterator[Message]:
        """The device has nothing in hand: what was sent before is lost, unless the answer is already there."""
        entry = open_ones[node]
        answers = self._pull({message_id: node for message_id in entry.ids}, open_ones)
        if answers:
            yield from answers
            return
        if node not in open_ones:
            return
        if len(entry.ids) >= MAX_ATTEMPTS:
            self._lose(open_ones, node, round_number, f"It lost its task {len(entry.ids)} times.")
            return
        old = entry.message
        entry.message = Message(
            old.content, node, old.metadata.message_type, ttl=old.metadata.ttl, group_id=old.metadata.group_id
        )
        self._push({node: entry}, round_number)
        self._link.resent(node, round_number, len(entry.ids))

    def _poll(self, open_ones: dict[int, _Open]) -> list[Message]:
        wanted = {message_id: node for node, entry in open_ones.items() for message_id in entry.ids}
        replies = self._pull(wanted, open_ones)
        self._pull_late()
        return replies

    def _pull(self, wanted: dict[str, int], open_ones: dict[int, _Open]) -> list[Message]:
        """Replies to the wanted messages, a few at a time so that few models lie in memory at once."""
        replies = []
        ids = list(wanted)
        for start in range(0, len(ids), PULLED_AT_ONCE):
            for reply in self._inner.pull_messages(ids[start : start + PULLED_AT_ONCE]):
                answered_id = reply.metadata.reply_to_message_id
                node = wanted[answered_id]
                entry = open_ones.get(node)
                if entry is None:
                    continue
                if reply.has_error():
                    # The engine's own errors: the message or its answer got lost on the way.
                    entry.ids.remove(answered_id)
                    continue
                del open_ones[node]
                replies.append(reply)
        return replies

    def _pull_late(self) -> None:
        for start in range(0, len(self._late), PULLED_AT_ONCE):
            ids = list(self._late)[start : start + PULLED_AT_ONCE]
            for reply in self._inner.pull_messages(ids):
                node, round_number = self._late.pop(reply.metadata.reply_to_message_id, (0, 0))
                if node and not reply.has_error():
                    self._link.late(node, round_number)

    def _give_up_lost(self, open_ones: dict[int, _Open], round_number: int) -> None:
        for node, entry in list(open_ones.items()):
            if entry.gone_since is not None and self._clock() - entry.gone_since > self._waiting.patience:
                self._lose(
                    open_ones, node, round_number, f"It was away for over {self._waiting.patience:.0f} s."
                )

    def _wake_silent(self, open_ones: dict[int, _Open], round_number: int) -> None:
        ready = self._link.ready()
        for node, entry in list(open_ones.items()):
            if node not in ready:
                entry.gone_since = entry.gone_since or self._clock()
            elif not entry.ids:
                self._push({node: entry}, round_number)
            elif self._clock() - entry.woken >= WAKE_AGAIN:
                entry.woken = self._clock()
                self._link.wake(node, round_number)

    def _lose(self, open_ones: dict[int, _Open], node: int, round_number: int, reason: str) -> None:
        entry = open_ones.pop(node)
        self._late.update(dict.fromkeys(entry.ids, (node, round_number)))
        self._link.lost(node, round_number, reason)

    def _close(self, open_ones: dict[int, _Open], round_number: int, deadline: float) -> None:
        over = self._clock() >= deadline
        reason = (
            f"It did not answer within {self._waiting.deadline:.0f} s."
            if over
            else "The round closed without it."
        )
        for node in list(open_ones):
            self._link.abandon(node, round_number)
            self._lose(open_ones, node, round_number, reason)
        self._late = {i: at for i, at in self._late.items() if at[1] > round_number - LATE_ROUNDS}

    def _check_stop(self) -> None:
        if self._link.stop.is_set():
            raise Stopped("the run was stopped")
