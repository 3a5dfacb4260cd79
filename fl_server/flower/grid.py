"""Flower's grid with fewer requests a reply, and with patience for an engine that dies and comes back."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from fl_server.flower import engine
from strategies.grid import DelegatingGrid
from strategies.link import Stopped

logger = logging.getLogger(__name__)

T = TypeVar("T")

# An engine that was killed is back in seconds; after a minute it has given the run up itself.
PATIENCE = 60.0
TRY_EVERY = 0.5


class EngineLost(Exception):
    """The engine stayed away, or has ended the run on its side."""


class QuickGrid(DelegatingGrid):
    """Pulls what a reply says without the objects around it, and repeats what an engine's death broke off."""

    def __init__(
        self,
        inner: Grid,
        stop: threading.Event,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self._stop = stop
        self._patience = patience
        self._clock = clock
        engine.bound_retries(inner, patience, TRY_EVERY)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        copies = iter([sent])

        def push() -> list[str]:
            # The engine keeps a message whose content it lost, so the same one again would stay empty.
            return list(self._inner.push_messages(next(copies, None) or [_again(each) for each in sent]))

        return self._persist(push)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        ids = list(message_ids)
        yield from self._persist(lambda: list(engine.pull_replies(self._inner, ids)))

    def _persist(self, call: Callable[[], T]) -> T:
        give_up = self._clock() + self._patience
        while True:
            try:
                return call()
            except engine.RunNotRunningException as exc:
                raise EngineLost("The engine has ended the run.") from exc
            except engine.BROKEN as exc:
                if not engine.is_passing(exc):
                    raise
                if self._clock() > give_up:
                    raise EngineLost(f"The engine did not answer for {self._patience:.0f} s.") from exc
                logger.warning("the engine broke off, trying again: %s", exc)
            if self._stop.wait(TRY_EVERY):
                raise Stopped("the run was stopped")


def _again(message: Message) -> Message:
    about = message.metadata
    return Message(
        message.content, about.dst_node_id, about.message_type, ttl=about.ttl, group_id=about.group_id
    )
