"""Training a model on one device's partition, and judging a model on a whole dataset."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fl_client import data, models, optimisers, partitions
from fl_client.assignment import Assignment
from fl_client.data import Split
from fl_client.devices import pick_device
from fl_client.draws import Purpose, generator
from fl_client.errors import Cancelled, Diverged, NotPrepared
from fl_client.models import Arrays

OnBatch = Callable[[int, int], None]
ShouldStop = Callable[[], bool]
_GATHERED_BATCHES = 64
_JUDGED_ROWS = 1000


@dataclass(frozen=True)
class Result:
    arrays: Arrays
    examples: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class _Rows:
    """Rows of the partition, as tensors on the training device."""

    inputs: Tensor  # float32 (n, 1, 28, 28)
    labels: Tensor  # int64 (n,)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class _Prepared:
    model: nn.Module
    training: _Rows
    holdout: _Rows


class Trainer:
    """One assignment: prepared once, then trained for as many rounds as the server asks."""

    def __init__(self, assignment: Assignment, device: torch.device | None = None) -> None:
        self.assignment = assignment
        self.device = device or pick_device()
        self._prepared: _Prepared | None = None

    def prepare(self) -> int:
        """Load model, data and partition; the number of rows that this device was dealt."""
        wanted = self.assignment
        model = models.build(wanted.model.name, wanted.model.options, wanted.seed).to(self.device)
        dataset = data.load(wanted.dataset.name, wanted.dataset.options, "train")
        share = wanted.partition
        dealt = partitions.indices(
            share.scheme, share.options, dataset.labels.numpy(), share.count, share.index, wanted.seed
        )
        shuffled = generator(wanted.seed, Purpose.HOLDOUT, share.index).permutation(dealt)
        kept_back = min(int(len(dealt) * wanted.training.holdout), len(dealt) - 1)
        self._prepared = _Prepared(
            model, self._rows(dataset, shuffled[kept_back:]), self._rows(dataset, shuffled[:kept_back])
        )
        return len(dealt)

    def train(
        self,
        round_number: int,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        config: Mapping[str, Any],
        on_batch: OnBatch = lambda batch, batches: None,
        should_stop: ShouldStop = lambda: False,
    ) -> Result:
        """Train from the given weights.

        Metrics: train-loss and train-accuracy of the last epoch, as the model was while it saw each batch;
        eval-loss and eval-accuracy of the incoming model on the rows kept back, where there are any; seconds.
        Raises Cancelled at the next batch once should_stop() is true, Diverged where a number is not finite.
        """
        if self._prepared is None:
            raise NotPrepared("Training was asked for before the assignment was prepared.")
        start = time.perf_counter()
        model, rows, holdout = self._prepared.model, self._prepared.training, self._prepared.holdout
        metrics: dict[str, float] = {}
        if self.assignment.training.optimizer == "nudge":
            models.check_weights(model, arrays)
            trained = {name: optimisers.nudge(array) for name, array in arrays.items()}
        else:
            models.load_weights(model, arrays)
            if len(holdout):
                metrics |= _judged(model, holdout)
            mu = float(config.get("proximal-mu", 0.0))
            metrics |= self._fit(self._prepared, round_number, mu, on_batch, should_stop)
            trained = models.read_weights(model)
            _require_finite(trained)
        metrics["seconds"] = time.perf_counter() - start
        return Result(trained, len(rows), metrics)

    def _fit(
        self, prepared: _Prepared, round_number: int, mu: float, on_batch: OnBatch, should_stop: ShouldStop
    ) -> dict[str, float]:
        training, model, rows = self.assignment.training, prepared.model, prepared.training
        parameters = list(model.parameters())
        anchors = [parameter.detach().clone() for parameter in parameters] if mu > 0 else []
        optimiser = optimisers.build(training, parameters)
        order = generator(self.assignment.seed, Purpose.ORDER, round_number, self.assignment.partition.index)
        size = training.batch_size or len(rows)
        done, batches = 0, training.epochs * math.ceil(len(rows) / size)
        metrics: dict[str, float] = {}
        model.train()
        for _ in range(training.epochs):
            seen = torch.from_numpy(order.permutation(len(rows))).to(self.device)
            outputs: list[Tensor] = []
            for inputs, labels in _batches(rows, seen, size):
                if should_stop():
                    raise Cancelled
                optimiser.zero_grad()
                output = model(inputs)
                torch.autograd.backward(nn.functional.cross_entropy(output, labels))
                if anchors:
                    optimisers.pull(parameters, anchors, mu)
                optimiser.step()
                outputs.append(output.detach())
                done += 1
                on_batch(done, batches)
            metrics = _scores(outputs, rows.labels[seen], "train")
        return metrics

    def _rows(self, dataset: data.Dataset, chosen: np.ndarray[Any, Any]) -> _Rows:
        rows = torch.from_numpy(chosen)
        return _Rows(dataset.inputs(rows).to(self.device), dataset.labels[rows].to(self.device))


def evaluate(
    model: str,
    model_options: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray[Any, Any]],
    dataset: str,
    dataset_options: Mapping[str, Any],
    split: Split = "test",
    batch: int = _JUDGED_ROWS,
    device: torch.device | None = None,
) -> dict[str, float]:
    """Loss, accuracy and number of examples of some weights on a whole dataset."""
    device = device or pick_device()
    module = models.build(model, model_options, 0)
    models.load_weights(module, arrays)
    module.to(device).eval()
    loaded = data.load(dataset, dataset_options, split)
    outputs: list[Tensor] = []
    with torch.inference_mode():
        for first in range(0, len(loaded), batch):
            outputs.append(module(loaded.inputs(slice(first, first + batch)).to(device)))
    loss, accuracy = _loss_and_accuracy(outputs, loaded.labels.to(device))
    return {"loss": loss, "accuracy": accuracy, "examples": len(loaded)}


def _batches(rows: _Rows, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in the given order. Gathering many at once saves 5 % of an epoch of small batches."""
    for block in torch.split(order, size * _GATHERED_BATCHES):
        yield from zip(
            torch.split(rows.inputs[block], size), torch.split(rows.labels[block], size), strict=True
        )


def _judged(model: nn.Module, rows: _Rows) -> dict[str, float]:
    model.eval()
    with torch.inference_mode():
        return _scores(
            [model(inputs) for inputs in torch.split(rows.inputs, _JUDGED_ROWS)], rows.labels, "eval"
        )


def _scores(outputs: Sequence[Tensor], labels: Tensor, prefix: str) -> dict[str, float]:
    loss, accuracy = _loss_and_accuracy(outputs, labels)
    if not math.isfinite(loss):
        raise Diverged("The loss is no longer a finite number; a smaller learning rate may help.")
    return {f"{prefix}-loss": loss, f"{prefix}-accuracy": accuracy}


def _loss_and_accuracy(outputs: Sequence[Tensor], labels: Tensor) -> tuple[float, float]:
    """Judged once for all batches: asking after each would make an accelerator wait."""
    together = torch.cat(list(outputs))  # (n, classes)
    loss = nn.functional.cross_entropy(together, labels).item()
    return loss, (together.argmax(1) == labels).sum().item() / len(labels)


def _require_finite(arrays: Arrays) -> None:
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise Diverged(f"After training, {name} holds values that are not finite.")
