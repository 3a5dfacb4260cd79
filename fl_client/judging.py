"""How good a model is: loss and accuracy of what it says about rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fl_client import data, models
from fl_client.data import Split
from fl_client.devices import pick_device
from fl_client.errors import Diverged

ROWS_AT_ONCE = 1000


def evaluate(
    model: str,
    model_options: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray[Any, Any]],
    dataset: str,
    dataset_options: Mapping[str, Any],
    split: Split = "test",
    batch: int = ROWS_AT_ONCE,
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


def judged(model: nn.Module, inputs: Tensor, labels: Tensor, prefix: str) -> dict[str, float]:
    """The scores of a model on rows that lie on its device."""
    model.eval()
    with torch.inference_mode():
        return scores([model(some) for some in torch.split(inputs, ROWS_AT_ONCE)], labels, prefix)


def scores(outputs: Sequence[Tensor], labels: Tensor, prefix: str) -> dict[str, float]:
    """<prefix>-loss and <prefix>-accuracy; raises Diverged where the loss is no finite number."""
    loss, accuracy = _loss_and_accuracy(outputs, labels)
    if not math.isfinite(loss):
        raise Diverged("The loss is no longer a finite number; a smaller learning rate may help.")
    return {f"{prefix}-loss": loss, f"{prefix}-accuracy": accuracy}


def _loss_and_accuracy(outputs: Sequence[Tensor], labels: Tensor) -> tuple[float, float]:
    """Judged once for all batches: asking after each would make an accelerator wait."""
    together = torch.cat(list(outputs)).float()  # (n, classes)
    loss = nn.functional.cross_entropy(together, labels).item()
    return loss, (together.argmax(1) == labels).sum().item() / len(labels)
