"""One Flower strategy around another: planned devices, checked replies, constant memory, a report per round.

The inner strategy keeps its mathematics and its settings for devices. It sees a grid of exactly the planned
devices and, as the round's only reply, the weighted mean of the accepted ones: for every strategy that starts
from that mean, the result is its own.

It also sees floating tensors only. float16 is widened to float32 for it and its result cast back; integer and
bool tensors (counters, indices) have no gradient to adapt and take their plain weighted mean.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from strategies.aggregation import MAX_TOTAL_WEIGHT, MeanOfMetrics, WeightedMean
from strategies.document import Arrays, pack
from strategies.exceptions import Diverged, Rejected, StrategyError, TooFewReplies
from strategies.exchange import CLIENT_FAILED
from strategies.norms import NormWatch, update_norm
from strategies.packing import Reply, instruction
from strategies.validation import Validator, first_non_finite
from strategies.wire import MESSAGE_TYPE

WEIGHT_KEY = "num-examples"


@dataclass(frozen=True)
class ReplyOutcome:
    """What became of one reply. code and message are None for an accepted one.

    Codes are the validator's and "client-error" (the device says why), "unplanned", "duplicate" and "norm".
    seconds runs from the round's start to the reply's arrival. norm is the update's, where it is watched;
    warning says what stands out about an accepted one.
    """

    round: int
    node_id: int
    seconds: float
    code: str | None = None
    message: str | None = None
    examples: int = 0
    nbytes: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    norm: float | None = None
    warning: str = ""

    @property
    def accepted(self) -> bool:
        return self.code is None


@dataclass(frozen=True)
class RoundOutcome:
    """A round that reached its quorum: the new model and what it was made of."""

    round: int
    accepted: int
    rejected: int
    examples: int
    seconds: float
    metrics: Mapping[str, float]
    arrays: Arrays


@dataclass
class _OpenRound:
    number: int
    validator: Validator
    layout: dict[str, np.dtype[Any]]
    started: float
    planned: frozenset[int]
    mean: WeightedMean
    model: Arrays | None = None  # what was sent out, kept only where updates are measured
    answered: set[int] = field(default_factory=set)
    metrics: MeanOfMetrics = field(default_factory=MeanOfMetrics)
    rejected: int = 0


class _PlannedNodes:
    def __init__(self, node_ids: list[int]) -> None:
        self._node_ids = node_ids

    def get_node_ids(self) -> list[int]:
        return self._node_ids


def _ignore(_: object) -> None:
    pass


class FederatedStrategy(Strategy):
    """For use with Strategy.start(). Round r of start() is round first_round + r - 1 of the job.

    plan(round, grid) names the devices of a round. max_examples(node_id), or a mapping, is the largest weight
    that a device may claim. A round with fewer than quorum accepted replies raises TooFewReplies, a model
    that is no longer finite Diverged. on_reply hears of every reply as it arrives, on_round of every finished
    round before start() goes on. ttl is the life of a message in seconds. watch judges the length of updates;
    without one, or where its action is off, none is measured.
    """

    def __init__(
        self,
        inner: Strategy,
        *,
        run: int,
        fence: int,
        max_examples: Callable[[int], int] | Mapping[int, int],
        plan: Callable[[int, Grid], list[int]],
        first_round: int = 1,
        quorum: int = 1,
        on_reply: Callable[[ReplyOutcome], None] = _ignore,
        on_round: Callable[[RoundOutcome], None] = _ignore,
        ttl: float | None = None,
        watch: NormWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inner = inner
        self.run = run
        self.fence = fence
        self.first_round = first_round
        self.quorum = max(1, quorum)
        self._max_examples = max_examples.__getitem__ if isinstance(max_examples, Mapping) else max_examples
        self._plan = plan
        self._on_reply = on_reply
        self._on_round = on_round
        self._ttl = ttl
        self._watch = watch if watch and watch.action != "off" else None
        self._clock = clock
        self._open: _OpenRound | None = None
        self._mean = WeightedMean()

    def round_number(self, server_round: int) -> int:
        """The job's round for a round of start(), which counts from 1 in every run."""
        return self.first_round + server_round - 1

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        number = self.round_number(server_round)
        node_ids = list(dict.fromkeys(self._plan(number, grid)))
        if len(node_ids) < self.quorum:
            raise TooFewReplies(number, 0, self.quorum)
        model = {name: array.numpy() for name, array in arrays.items()}
        settings = self._settings(number, model, config, node_ids)
        content = instruction(pack(model), run=self.run, round=number, fence=self.fence, config=settings)
        self._mean.reset()
        self._open = _OpenRound(
            number=number,
            validator=Validator(model, run=self.run, round=number, fence=self.fence),
            layout={name: array.dtype for name, array in model.items()},
            started=self._clock(),
            planned=frozenset(node_ids),
            mean=self._mean,
            model=model if self._watch else None,
        )
        return [
            Message(content, node_id, MESSAGE_TYPE, ttl=self._ttl, group_id=str(number))
            for node_id in node_ids
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord | None]:
        current, self._open = self._open, None
        if current is None or current.number != self.round_number(server_round):
            raise StrategyError(f"round {self.round_number(server_round)} was not configured")
        for message in replies:
            self._take(current, message)
            # or it would stay in memory while the next one is pulled
            del message
        if current.mean.count < self.quorum:
            raise TooFewReplies(current.number, current.mean.count, self.quorum)
        model, metrics = self._step(current)
        self._on_round(
            RoundOutcome(
                round=current.number,
                accepted=current.mean.count,
                rejected=current.rejected,
                examples=current.mean.total,
                seconds=self._clock() - current.started,
                metrics=current.metrics.mean(),
                arrays=model,
            )
        )
        return _record(model), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Nothing: a device evaluates the incoming model within the train exchange."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        return None

    def summary(self) -> None:
        self.inner.summary()

    def _settings(
        self, number: int, model: Arrays, config: ConfigRecord, node_ids: list[int]
    ) -> dict[str, Any]:
        """What the inner strategy wants to tell the devices in this round."""
        # Flower's strategies ask a grid only who is there, and write into the config they get
        grid = cast(Grid, _PlannedNodes(node_ids))
        messages = self.inner.configure_train(number, _floating(model), ConfigRecord(dict(config)), grid)
        message = next(iter(messages), None)
        if message is None:
            raise StrategyError(f"{type(self.inner).__name__} sends nothing in round {number}")
        records = message.content.config_records.values()
        settings: dict[str, Any] = {key: record[key] for record in records for key in record}
        # the header says it already
        settings.pop("server-round", None)
        return settings

    def _take(self, current: _OpenRound, message: Message) -> None:
        node_id = message.metadata.src_node_id
        seconds = self._clock() - current.started
        try:
            reply = self._checked(current, node_id, message)
            norm, warning = self._measured(current, reply)
        except Rejected as error:
            current.rejected += 1
            outcome = ReplyOutcome(current.number, node_id, seconds, code=error.code, message=error.message)
        else:
            current.answered.add(node_id)
            current.mean.add(reply.arrays, reply.examples)
            current.metrics.add(reply.metrics, reply.examples)
            outcome = ReplyOutcome(
                current.number,
                node_id,
                seconds,
                examples=reply.examples,
                nbytes=reply.nbytes,
                metrics=reply.metrics,
                norm=norm,
                warning=warning,
            )
        self._on_reply(outcome)

    def _measured(self, current: _OpenRound, reply: Reply) -> tuple[float | None, str]:
        """The length of the update and what stands out about it; Rejected where that is not let in."""
        if self._watch is None or current.model is None:
            return None, ""
        norm = update_norm(current.model, reply.arrays)
        finding = self._watch.judge(current.number, norm)
        if finding and self._watch.action == "reject":
            raise Rejected("norm", finding)
        self._watch.accept(current.number, norm)
        return norm, finding

    def _checked(self, current: _OpenRound, node_id: int, message: Message) -> Reply:
        if node_id not in current.planned:
            raise Rejected("unplanned", f"node {node_id} has no part in round {current.number}")
        if message.has_error():
            raise Rejected("client-error", _said_of(message.error))
        if node_id in current.answered:
            raise Rejected("duplicate", f"node {node_id} has already answered in round {current.number}")
        room = MAX_TOTAL_WEIGHT - current.mean.total
        return current.validator.read(message.content, min(self._max_examples(node_id), room))

    def _step(self, current: _OpenRound) -> tuple[Arrays, MetricRecord | None]:
        """Hand the inner strategy its one reply and give its answer the model's names, order and dtypes."""
        mean = current.mean.mean()
        record = MetricRecord({**current.metrics.mean(), WEIGHT_KEY: current.mean.total})
        content = RecordDict({"arrays": _floating(mean), "metrics": record})
        reply = Message(content, min(current.answered), MESSAGE_TYPE, group_id=str(current.number))
        updated, metrics = self.inner.aggregate_train(current.number, [reply])
        if updated is None:
            raise StrategyError(f"{type(self.inner).__name__} made no model in round {current.number}")
        model: Arrays = {}
        for name, dtype in current.layout.items():
            model[name] = _cast(updated[name].numpy(), dtype) if dtype.kind == "f" else mean[name]
            if first_non_finite(model[name]) is not None:
                raise Diverged(current.number, name)
        return model, metrics


def _floating(arrays: Arrays) -> ArrayRecord:
    """The floating tensors, at least float32, in the order of their names: FedAvgM pairs them by position."""
    return _record(
        {
            name: arrays[name].astype(np.float32) if arrays[name].dtype == np.float16 else arrays[name]
            for name in sorted(arrays)
            if arrays[name].dtype.kind == "f"
        }
    )


def _cast(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    # what does not fit becomes infinite, which the caller looks for
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


def _said_of(error: Error) -> str:
    """What a device told us of its failure as it is; the engine's own errors with their number."""
    said = error.reason or "it gave no reason"
    return said if error.code == CLIENT_FAILED else f"error {error.code}: {said}"


def _record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})
