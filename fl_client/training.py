"""Training a model on one device's partition."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from fl_client import data, judging, memory, models, optimisers, partitions
from fl_client.assignment import Assignment
from fl_client.devices import pick_device
from fl_client.draws import Purpose, generator
from fl_client.errors import Diverged, NotPrepared
from fl_client.fit import Fit, Place, Rows, Watch
from fl_client.models import Arrays
from fl_client.snapshot import Snapshot


@dataclass(frozen=True)
class Result:
    arrays: Arrays
    examples: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class _Prepared:
    model: nn.Module
    training: Rows
    holdout: Rows


class Trainer:
    """One assignment: prepared once, then trained for as many rounds as the server asks."""

    def __init__(
        self, assignment: Assignment, device: torch.device | None = None, *, leave_bytes: int = 0
    ) -> None:
        """`leave_bytes` of the device's memory are left to others."""
        self.assignment = assignment
        self.device = device or pick_device()
        self.portions = memory.Portions(self.device)
        self._leave_bytes = leave_bytes
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
        self._fit_to_memory(self._prepared)
        return len(dealt)

    def train(
        self,
        round_number: int,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        config: Mapping[str, Any],
        watch: Watch | None = None,
        kept: Snapshot | None = None,
    ) -> Result:
        """Train from the given weights, or on from what was kept of this round.

        Metrics: train-loss and train-accuracy of the last epoch, as the model was while it saw each batch;
        eval-loss and eval-accuracy of the incoming model on the rows kept back, where there are any; seconds;
        memory-shortages and rows-at-once where a batch did not fit into memory as a whole.
        Raises Cancelled or Parked at the next batch once the watch says so, Diverged where a number is not
        finite.
        """
        if self._prepared is None:
            raise NotPrepared("Training was asked for before the assignment was prepared.")
        start = time.perf_counter()
        model = self._prepared.model
        metrics: dict[str, float] = {}
        if self.assignment.training.optimizer == "nudge":
            models.check_weights(model, arrays)
            trained = {name: optimisers.nudge(array) for name, array in arrays.items()}
            metrics["seconds"] = time.perf_counter() - start
        else:
            metrics |= self._fit(self._prepared, round_number, arrays, config, watch or Watch(), kept)
            trained = models.read_weights(model)
            _require_finite(trained)
        return Result(trained, len(self._prepared.training), metrics)

    def _fit(
        self,
        prepared: _Prepared,
        round_number: int,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        config: Mapping[str, Any],
        watch: Watch,
        kept: Snapshot | None,
    ) -> dict[str, float]:
        wanted = self.assignment
        models.load_weights(prepared.model, arrays)
        before = dict(kept.head.metrics) if kept else self._judged(prepared)
        fit = Fit(
            wanted.training,
            prepared.model,
            prepared.training,
            generator(wanted.seed, Purpose.ORDER, round_number, wanted.partition.index),
            self.portions,
            Place(wanted.run, round_number, wanted.fence, before),
            float(config.get("proximal-mu", 0.0)),
        )
        if kept:
            fit.go_on_from(kept)
        metrics = before | fit.run(watch) | {"seconds": fit.seconds}
        if self.portions.shortages:
            metrics["memory-shortages"] = float(self.portions.shortages)
            metrics["rows-at-once"] = float(self.portions.most or 0)
        return metrics

    def _judged(self, prepared: _Prepared) -> dict[str, float]:
        rows = prepared.holdout
        return judging.judged(prepared.model, rows.inputs, rows.labels, "eval") if len(rows) else {}

    def _rows(self, dataset: data.Dataset, chosen: np.ndarray[Any, Any]) -> Rows:
        rows = torch.from_numpy(chosen)
        return Rows(dataset.inputs(rows).to(self.device), dataset.labels[rows].to(self.device))

    def _fit_to_memory(self, prepared: _Prepared) -> None:
        """On a GPU, see before the first round how many rows fit at once into what is free now."""
        memory.leave_free(self.device, self._leave_bytes)
        if self.device.type != "cuda":
            return
        rows, model = prepared.training, prepared.model

        def step(count: int) -> None:
            output = model(rows.inputs[:count])
            torch.autograd.backward(nn.functional.cross_entropy(output, rows.labels[:count]))
            model.zero_grad(set_to_none=True)

        size = min(self.assignment.training.batch_size or len(rows), len(rows))
        meter = memory.CudaMeter(self.device, step, self._leave_bytes)
        self.portions.limit(memory.affordable(meter, size))


def _require_finite(arrays: Arrays) -> None:
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise Diverged(f"After training, {name} holds values that are not finite.")
