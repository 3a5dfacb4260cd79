"""A grid whose exchange never hangs: devices are woken, watched, sent to again, and given up.

Flower's own `send_and_receive` polls every three seconds and waits for every reply. This one takes replies as
they arrive, repeats what a device lost, and closes the round at the quorum and a grace period or at the
deadline, whichever is first.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from strategies.exchange import Exchange, LateReplies
from strategies.link import Link, Waiting, check_stop, next_signal

# Between two looks at who has joined. Seconds.
JOIN_POLL = 0.25


class DelegatingGrid(Grid):
    """A grid around another one that changes nothing."""

    def __init__(self, inner: Grid) -> None:
        super().__init__()
        self._inner = inner

    def set_run(self, run: Any) -> None:
        self._inner.set_run(run)

    @property
    def run(self) -> Any:
        return self._inner.run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        return self._inner.create_message(*args, **kwargs)

    def get_node_ids(self) -> Iterable[int]:
        return self._inner.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._inner.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._inner.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self._inner.send_and_receive(messages, timeout=timeout)


class DeviceGrid(DelegatingGrid):
    def __init__(
        self, inner: Grid, link: Link, waiting: Waiting, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(inner)
        self._link = link
        self._waiting = waiting
        self._clock = clock
        self._late = LateReplies(inner, link)
        self._joined = False
        self._answered: set[int] = set()
        self._exchange: Exchange | None = None

    def gather(self, reserved: Callable[[], set[int]], needed: int) -> list[int]:
        """Wait for the devices of the next round: all of them before the first, afterwards whoever is there.

        Loading libraries may take a machine a minute: `needed` are waited for as long as a round may last.
        Who answered a moment ago is waited for a little: a database that was away makes all look silent.
        Where the run holds fewer that are able, others have to be found, and it is soon over. Returns what
        there is then, which may be fewer than `needed`.
        """
        start = self._clock()
        while True:
            wanted = reserved()
            there = self._link.ready() & wanted
            waited = self._clock() - start
            patience = self._waiting.rejoin if self._joined else self._waiting.join
            expected = self._answered & wanted if self._joined else wanted
            complete = expected <= there or waited >= patience
            too_few = len(wanted) < needed and waited >= self._waiting.patience
            if (complete and len(there) >= needed) or too_few or waited >= self._waiting.deadline:
                self._joined = True
                return sorted(there)
            check_stop(self._link)
            signal = next_signal(self._link, JOIN_POLL)
            if signal and signal.kind == "uploaded":
                self._late.collect(signal.node)

    def discount(self) -> None:
        """The reply that came last was rejected: it does not help to close the round."""
        if self._exchange:
            self._exchange.discount()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        sent = list(messages)
        if not sent:
            return []
        self._exchange = Exchange(self._inner, self._link, self._waiting, self._late, sent, self._clock)
        return self._noting_who_answers(self._exchange.replies())

    def _noting_who_answers(self, replies: Iterable[Message]) -> Iterator[Message]:
        self._answered = set()
        for reply in replies:
            if not reply.has_error():
                self._answered.add(reply.metadata.src_node_id)
            yield reply
            # or it would stay in memory while the next one is pulled
            del reply
