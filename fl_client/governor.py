"""Decides, again and again, whether this machine may train: from what it senses and three layers of rules."""

import json
import logging
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from fl_client import clock, owner
from fl_client import home as files
from fl_client.home import Home
from fl_client.owner import Will
from fl_client.policy.decide import Code, Decision, decide
from fl_client.policy.facts import Facts
from fl_client.policy.layers import combine
from fl_client.policy.pause import Pause
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules
from fl_client.senses.gpus import Gpu
from fl_client.senses.reader import Reader

log = logging.getLogger("constellation.policy")

REASON_MOST = 200  # characters
# What the owner runs and where the machine is concerns nobody else: the platform hears the kind of reason.
PRIVATE = {
    Code.PROGRAM_RUNNING: "a program runs that stops training",
    Code.NETWORK_DENIED: "it is on a network without training",
}


class Governor:
    """`look` may be called from one thread at a time; what it found may be read from any."""

    def __init__(
        self,
        home: Home,
        worker_pids: Callable[[], Iterable[int]],
        *,
        reader: Reader | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._home = home
        self._reader = reader or Reader(lambda: [os.getpid(), *worker_pids()])
        self._now = now
        self.facts = Facts()
        self.gpus: tuple[Gpu, ...] = ()
        self.will: Will = owner.read(home)
        self.above, self._unclear = self._kept()
        # Until the first look nothing is known, so nothing is allowed.
        self.decision = decide(self.facts, Rules(), now(), pause=Pause(text="starting"))

    def look(self) -> Decision:
        self.will = owner.read(self._home)
        self.facts, self.gpus = self._reader.read(), self._reader.gpus()
        self.decision = decide(
            self.facts,
            combine(self.above, self.will.rules),
            self._now(),
            pause=self._unclear or self.will.pause,
            before=self.decision,
        )
        return self.decision

    def told(self, policy: dict[str, Any]) -> None:
        """The platform's layers. They are kept, and hold without a connection too."""
        self._home.write(files.POLICY, json.dumps(policy).encode())
        self.above, self._unclear = _read(policy)

    def _kept(self) -> tuple[Rules, Pause | None]:
        """Before the platform has spoken the usual rules of a company hold, which are strict."""
        data = self._home.read(files.POLICY)
        if data is None:
            return COMPANY_DEFAULTS, None
        try:
            return _read(json.loads(data))
        except ValueError:
            return COMPANY_DEFAULTS, None


def _read(policy: dict[str, Any]) -> tuple[Rules, Pause | None]:
    """A rule that this client does not know may forbid what it is about to do: then it rests."""
    try:
        layers = [Rules.model_validate(policy.get(name) or {}) for name in ("company", "group")]
    except ValidationError as exc:
        log.error("the company's policy cannot be understood: %s", exc.errors(include_url=False))
        return COMPANY_DEFAULTS, Pause(text="the company’s policy says more than this client understands")
    return combine(*layers), None


def as_message(decision: Decision) -> dict[str, Any]:
    """What the platform learns of a decision."""
    return {
        "allowed": decision.allowed,
        "may_start": decision.may_start,
        "reason": told(decision)[:REASON_MOST],
        "codes": [str(reason.code) for reason in decision.reasons],
        "until": decision.until.isoformat() if decision.until else None,
    }


def told(decision: Decision) -> str:
    """Why not, as others may read it."""
    if not decision.reasons:
        return ""
    first = decision.reasons[0]
    return PRIVATE.get(first.code, first.sentence)
