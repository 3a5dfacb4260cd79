"""One round's steps on a device, batch after batch; it may stop, park and go on elsewhere between two."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fl_client import judging, models, optimisers
from fl_client.assignment import Training
from fl_client.errors import Cancelled, Parked, SnapshotError
from fl_client.memory import Portions
from fl_client.models import Arrays
from fl_client.snapshot import Head, Snapshot

GATHERED_BATCHES = 64
# The scores of an epoch are judged at its end, from what the model said while it saw each batch.
OUTPUTS = "outputs"
OPTIMISER = "optimiser/"


@dataclass(frozen=True)
class Rows:
    """Rows of the partition, as tensors on the training device."""

    inputs: Tensor  # float32 (n, 1, 28, 28)
    labels: Tensor  # int64 (n,)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Watch:
    """Who follows a training: asked before each batch, told after it. As it is: nobody."""

    on_batch: Callable[[int, int], None] = lambda done, batches: None
    should_stop: Callable[[], bool] = lambda: False
    should_park: Callable[[], bool] = lambda: False
    is_due: Callable[[], bool] = lambda: False  # a snapshot, after this batch
    keep: Callable[[Snapshot], None] = lambda snapshot: None


@dataclass(frozen=True)
class Place:
    """Which training this is; what a snapshot says of it."""

    run: int
    round: int
    fence: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


class Fit:
    def __init__(
        self,
        training: Training,
        model: nn.Module,
        rows: Rows,
        order: np.random.Generator,
        portions: Portions,
        place: Place,
        mu: float = 0.0,
    ) -> None:
        """The model holds the weights that came in; `order` draws one order of the rows for each epoch."""
        self._training, self._model, self._rows, self._order = training, model, rows, order
        self._portions, self._place, self._mu = portions, place, mu
        self._parameters = list(model.parameters())
        self._anchors = [each.detach().clone() for each in self._parameters] if mu > 0 else []
        self._optimiser = optimisers.build(training, self._parameters)
        self._precision = Precision(training, rows.labels.device)
        self._size = training.batch_size or len(rows)
        self._an_epoch = math.ceil(len(rows) / self._size)
        self._outputs: list[Tensor] = []
        self._done = 0
        self._before = 0.0
        self._started = time.perf_counter()

    @property
    def batches(self) -> int:
        return self._training.epochs * self._an_epoch

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def run(self, watch: Watch) -> dict[str, float]:
        """The scores of the last epoch. Raises Cancelled or Parked between two batches."""
        device, scored = self._rows.labels.device, {}
        self._model.train()
        for epoch in range(self._training.epochs):
            seen = torch.from_numpy(self._order.permutation(len(self._rows))).to(device)
            behind = self._done - epoch * self._an_epoch
            if behind >= self._an_epoch and epoch + 1 < self._training.epochs:
                continue
            if behind == 0:
                self._outputs = []
            for inputs, labels in _batches(self._rows, seen[behind * self._size :], self._size):
                self._heed(watch)
                self._outputs.append(self._step(inputs, labels))
                self._done += 1
                watch.on_batch(self._done, self.batches)
                if self._done < self.batches and watch.is_due():
                    watch.keep(self.snapshot())
            scored = judging.scores(self._outputs, self._rows.labels[seen], "train")
        return scored

    def _heed(self, watch: Watch) -> None:
        if watch.should_stop():
            raise Cancelled
        if watch.should_park():
            watch.keep(self.snapshot())
            raise Parked

    def _step(self, inputs: Tensor, labels: Tensor) -> Tensor:
        output = self._portions.run(len(labels), lambda most: self._gradients(inputs, labels, most))
        self._precision.unscale(self._optimiser)
        if self._anchors:
            optimisers.pull(self._parameters, self._anchors, self._mu)
        self._precision.step(self._optimiser)
        return output

    def _gradients(self, inputs: Tensor, labels: Tensor, most: int) -> Tensor:
        """Those of the mean loss over all labels, added up over portions of at most `most` rows."""
        self._optimiser.zero_grad()
        outputs = []
        for some, wanted in zip(torch.split(inputs, most), torch.split(labels, most), strict=True):
            with self._precision.lowered():
                output = self._model(some)
                loss = nn.functional.cross_entropy(output, wanted)
            if len(wanted) < len(labels):
                loss = loss * (len(wanted) / len(labels))
            torch.autograd.backward(self._precision.scale(loss))
            outputs.append(output.detach())
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def snapshot(self) -> Snapshot:
        state: Arrays = optimisers.state_of(self._optimiser, OPTIMISER)
        if self._outputs:
            state[OUTPUTS] = torch.cat(self._outputs).float().cpu().numpy()
        place = self._place
        head = Head(
            place.run,
            place.round,
            place.fence,
            self._done,
            self.batches,
            examples_of(self._done, self.batches, len(self._rows)),
            self.seconds,
            place.metrics,
        )
        return Snapshot(head, models.read_weights(self._model), state)

    def go_on_from(self, kept: Snapshot) -> None:
        """Take up the place of a snapshot of this very training."""
        if kept.head.batches != self.batches:
            raise SnapshotError(f"It is of a training of {kept.head.batches} batches, not {self.batches}.")
        models.load_weights(self._model, kept.weights)
        optimisers.restore_state(self._optimiser, kept.state, OPTIMISER)
        if OUTPUTS in kept.state:
            self._outputs = [torch.from_numpy(kept.state[OUTPUTS]).to(self._rows.labels.device)]
        self._done, self._before = kept.head.done, kept.head.seconds


class Precision:
    """Mixed where it helps, on CUDA: bfloat16 where the GPU has it, else float16 with a scaled loss."""

    def __init__(self, training: Training, device: torch.device) -> None:
        self._on = training.precision == "mixed" and device.type == "cuda"
        self._kind = torch.bfloat16
        scaled = False
        if self._on and not torch.cuda.is_bf16_supported(including_emulation=False):
            self._kind, scaled = torch.float16, True
        self._device = device
        self._scaler = torch.amp.GradScaler("cuda", enabled=scaled)

    def lowered(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=self._kind, enabled=self._on)

    def scale(self, loss: Tensor) -> Tensor:
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        self._scaler.unscale_(optimiser)

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        self._scaler.step(optimiser)
        self._scaler.update()


def examples_of(done: int, batches: int, rows: int) -> int:
    """The weight that part of a round may claim: the rows, as far as they were worked through in all epochs.

    With one epoch these are the examples really used. 0 before the first batch, at least 1 after it.
    """
    return max(1, rows * done // batches) if done else 0


def _batches(rows: Rows, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in the given order. Gathering many at once saves 5 % of an epoch of small batches."""
    if not len(order):
        return
    for block in torch.split(order, size * GATHERED_BATCHES):
        yield from zip(
            torch.split(rows.inputs[block], size), torch.split(rows.labels[block], size), strict=True
        )
