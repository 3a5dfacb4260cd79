"""One round's messages and what becomes of each: answered, failed, lost, or left behind at the close."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from flwr.app import Error, Message
from flwr.serverapp import Grid

from strategies.link import Link, Signal, Waiting, check_stop, next_signal, waiting_signals

# How often to check who is there. Seconds.
CHECK_EVERY = 1.0
# A wake-up that nobody answered is repeated this often; a device that is done says so again. Seconds.
WAKE_AGAIN = 3.0
# The engine shows a reply before all of it has arrived, and asking for it then means waiting for the rest. So
# replies are asked for when their devices say that they are there, and once more at the deadline.
LAST_LOOK = 10.0
# For devices whose owners came back to hand in what they have, before the round closes without it.
HAND_IN = 10.0
MAX_ATTEMPTS = 3
# Replies that come after their round closed are counted for so many rounds.
LATE_ROUNDS = 3
CLIENT_FAILED = 1000


def pull(inner: Grid, message_ids: Iterable[str]) -> Iterator[Message]:
    """Replies that are there, one at a time: each one holds a whole model."""
    for message_id in message_ids:
        yield from inner.pull_messages([message_id])


class LateReplies:
    """Messages whose round went on without their answers. The answers are counted, never folded."""

    def __init__(self, inner: Grid, link: Link) -> None:
        self._inner = inner
        self._link = link
        self._expected: dict[str, tuple[int, int]] = {}

    def expect(self, message_ids: Iterable[str], node: int, round_number: int) -> None:
        self._expected.update(dict.fromkeys(message_ids, (node, round_number)))

    def collect(self, node: int) -> None:
        """Take what a device has handed in by now."""
        ids = [message_id for message_id, at in self._expected.items() if at[0] == node]
        for reply in pull(self._inner, ids):
            _, round_number = self._expected.pop(reply.metadata.reply_to_message_id)
            if not reply.has_error():
                self._link.late(node, round_number)

    def forget_before(self, round_number: int) -> None:
        self._expected = {i: at for i, at in self._expected.items() if at[1] >= round_number}


@dataclass
class _Task:
    """What one device has been sent; `message_ids` are those that may still be answered."""

    message: Message
    message_ids: list[str] = field(default_factory=list)
    attempts: int = 0
    gone_since: float | None = None
    parked_since: float | None = None
    woken: float = 0.0


class Exchange:
    def __init__(
        self,
        inner: Grid,
        link: Link,
        waiting: Waiting,
        late: LateReplies,
        messages: list[Message],
        clock: Callable[[], float],
    ) -> None:
        self._inner = inner
        self._link = link
        self._waiting = waiting
        self._late = late
        self._clock = clock
        self._round = int(messages[0].metadata.group_id)
        self._open = {message.metadata.dst_node_id: _Task(message) for message in messages}
        self._quorum = min(waiting.quorum or len(messages), len(messages))
        self._answered = 0

    def replies(self) -> Iterator[Message]:
        """Replies as they come. An error reply stands for a device that could not do its part."""
        deadline = ends = self._clock() + self._waiting.deadline
        # Who was ready before the push needs no second message; who left or failed must be known.
        earlier = [signal for signal in waiting_signals(self._link) if signal.kind != "ready"]
        self._push(list(self._open))
        for signal in earlier:
            yield from self._handle(signal)
        next_check = self._clock() + CHECK_EVERY
        while self._open and self._clock() < ends:
            check_stop(self._link)
            yield from self._handle(next_signal(self._link, min(next_check, ends) - self._clock()))
            if self._clock() >= next_check:
                self._check()
                next_check = self._clock() + CHECK_EVERY
            if self._answered >= self._quorum and ends == deadline:
                ends = min(deadline, self._clock() + self._waiting.grace)
            if self._nobody_works():
                break
        yield from self._collect_parked()
        if self._clock() >= deadline:
            yield from self._look_once_more()
        self._close(self._clock() >= deadline)

    def discount(self) -> None:
        """The reply that came last may not enter the model, so it does not count for the quorum."""
        self._answered -= 1

    def _nobody_works(self) -> bool:
        """Every device that is waited for has lain parked for longer than one waits for an absent one."""
        now, patience = self._clock(), self._waiting.patience
        return bool(self._open) and all(
            task.parked_since is not None and now - task.parked_since > patience
            for task in self._open.values()
        )

    def _collect_parked(self) -> Iterator[Message]:
        """What was done before the owner came back counts, weighted by what it is."""
        parked = [node for node, task in self._open.items() if task.parked_since is not None]
        for node in parked:
            self._link.finish(node, self._round)
        give_up = self._clock() + HAND_IN
        while self._clock() < give_up and any(node in self._open for node in parked):
            check_stop(self._link)
            yield from self._handle(next_signal(self._link, give_up - self._clock()))

    def _push(self, nodes: list[int]) -> None:
        tasks = [self._open[node] for node in nodes]
        ids = self._inner.push_messages([task.message for task in tasks])
        for task, message_id in zip(tasks, ids, strict=True):
            task.attempts += 1
            if message_id:
                task.message_ids.append(message_id)
        for node, task in zip(nodes, tasks, strict=True):
            self._wake(node, task)

    def _wake(self, node: int, task: _Task) -> None:
        task.woken = self._clock()
        self._link.wake(node, self._round)

    def _handle(self, signal: Signal | None) -> Iterator[Message]:
        if signal is None:
            return
        if signal.kind == "uploaded" and (signal.round != self._round or signal.node not in self._open):
            self._late.collect(signal.node)
        elif signal.node in self._open:
            yield from self._handle_open(signal, self._open[signal.node])

    def _handle_open(self, signal: Signal, task: _Task) -> Iterator[Message]:
        if signal.kind == "uploaded":
            yield from self._pull(signal.node)
        elif signal.kind == "failed" and signal.round in (None, self._round):
            del self._open[signal.node]
            yield Message(Error(CLIENT_FAILED, signal.message), reply_to=task.message)
        elif signal.kind == "parked" and signal.round == self._round:
            task.gone_since = None
            task.parked_since = task.parked_since or self._clock()
        elif signal.kind == "gone" and signal.final:
            self._lose(signal.node, "It was taken out of the run.")
        elif signal.kind == "gone":
            task.gone_since = task.gone_since or self._clock()
        elif signal.kind == "ready":
            task.gone_since = task.parked_since = None
            if signal.round != self._round:
                if signal.round is not None:
                    self._link.abandon(signal.node, signal.round)
                # It does not have what it was sent, so that is lost.
                self._send_again(signal.node)

    def _send_again(self, node: int) -> None:
        task = self._open[node]
        if task.attempts >= MAX_ATTEMPTS:
            self._lose(
                node,
                f"It lost what it was sent {task.attempts} times: its program or its connection breaks off.",
            )
            return
        old = task.message
        task.message = Message(
            old.content, node, old.metadata.message_type, ttl=old.metadata.ttl, group_id=old.metadata.group_id
        )
        self._push([node])
        self._link.resent(node, self._round, task.attempts)

    def _look_once_more(self) -> Iterator[Message]:
        give_up = self._clock() + LAST_LOOK
        for node in list(self._open):
            if self._clock() < give_up:
                yield from self._pull(node)

    def _check(self) -> None:
        ready = self._link.ready()
        for node in list(self._open):
            self._check_on(node, self._open[node], node in ready)

    def _pull(self, node: int) -> Iterator[Message]:
        """The device's answer if there is one: to the newest message, else to an older one."""
        task = self._open[node]
        for message_id in reversed(task.message_ids.copy()):
            for reply in pull(self._inner, [message_id]):
                if not reply.has_error():
                    del self._open[node]
                    self._answered += 1
                    yield reply
                    return
                # The engine's own errors: the message or its answer got lost on the way.
                task.message_ids.remove(message_id)

    def _check_on(self, node: int, task: _Task, ready: bool) -> None:
        now = self._clock()
        if ready:
            task.gone_since = None
        elif task.gone_since is None and task.parked_since is None:
            task.gone_since = now
        if task.gone_since is not None:
            if now - task.gone_since > self._waiting.patience:
                self._lose(node, f"It was away for over {self._waiting.patience:.0f} s.")
        elif task.parked_since is not None:
            return
        elif not task.message_ids:
            self._send_again(node)
        elif now - task.woken >= WAKE_AGAIN:
            self._wake(node, task)

    def _lose(self, node: int, reason: str) -> None:
        task = self._open.pop(node)
        self._late.expect(task.message_ids, node, self._round)
        self._link.lost(node, self._round, reason)

    def _close(self, out_of_time: bool) -> None:
        reason = (
            f"It did not answer within {self._waiting.deadline:.0f} s."
            if out_of_time
            else "The round closed without it."
        )
        for node in list(self._open):
            self._link.abandon(node, self._round)
            self._lose(node, reason)
        self._late.forget_before(self._round - LATE_ROUNDS + 1)
