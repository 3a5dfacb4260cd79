"""What training is said to take, against arithmetic and against real workers."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fl_client import catalogue, footprint, models, weights
from fl_client.assignment import Choice, Training
from fl_client.footprint import Data
from tests.client.test_worker import Process

FLOAT = 4
SHAPE = Data(rows=4000, row_shape=(1, 28, 28), partitions=4)
SAMPLE = Choice(name="fashion-mnist", options={"source": "sample"})
# The estimate may be wrong by so much in either direction.
FACTOR = 1.3


def of(
    model: str = "2nn", shape: Data = SHAPE, options: dict[str, Any] | None = None, **training: Any
) -> Any:
    return footprint.estimate(model, options or {}, shape, Training(**training))


def test_parameters_and_gradients_are_those_of_the_model():
    found = of("cnn")
    assert found.parameters == found.gradients == 1_663_370 * FLOAT


@pytest.mark.parametrize(
    ("training", "copies"),
    [
        ({"optimizer": "sgd"}, 0),
        ({"optimizer": "sgd", "momentum": 0.9}, 1),
        ({"optimizer": "adam"}, 2),
        ({"optimizer": "adamw"}, 2),
        ({"optimizer": "nudge"}, 0),
    ],
)
def test_each_optimiser_keeps_so_many_copies_of_the_parameters(training, copies):
    assert of("2nn", **training).optimiser == copies * 199_210 * FLOAT


def test_activations_grow_with_the_batch_and_parameters_do_not():
    small, large = of("cnn", batch_size=10), of("cnn", batch_size=100)
    assert 9 < large.activations / small.activations < 11
    assert small.parameters == large.parameters


def test_a_perceptron_keeps_its_two_hidden_layers_its_scores_and_what_travels_back():
    hidden, scores, label, weight = 200 * FLOAT, 10 * FLOAT, 8, FLOAT
    kept = of("2nn", batch_size=100).activations
    # Both hidden layers are kept and their gradients travel back; beside the scores lies what the loss adds.
    assert 0 <= kept - 100 * (4 * hidden + scores + label) <= 100 * scores + weight


def test_batch_size_zero_takes_all_rows_of_a_share_at_once():
    assert of("2nn", batch_size=0).activations == of("2nn", batch_size=1000).activations


def test_fewer_partitions_mean_more_rows_on_each_device():
    few = Data(rows=4000, row_shape=(1, 28, 28), partitions=1)
    assert of(shape=few).data > of().data
    assert Data(rows=10, row_shape=(1,), partitions=3).share == 4


def test_what_nudges_needs_no_step():
    found = of("payload", options={"parameters": 1000}, optimizer="nudge")
    assert (found.gradients, found.activations) == (0, 0)


def test_a_model_too_large_for_this_machine_is_estimated_all_the_same():
    found = of("payload", options={"parameters": 1_000_000_000})
    assert found.parameters == 1_000_000_000 * FLOAT
    assert found.total > 6 * found.parameters


def test_the_total_is_the_worse_of_the_last_step_and_the_handing_in():
    step, handing_in = of("cnn", batch_size=1000), of("payload", options={"parameters": 10_000_000})
    for found, worst in ((step, step.activations), (handing_in, handing_in.handed_in)):
        lasting = found.libraries + found.data + found.parameters + found.gradients + found.under_way
        assert found.total == lasting + worst


class Residual(nn.Module):
    """Two convolutions with batch normalisation around a shortcut, as in ResNet (He et al. 2016)."""

    def __init__(self, _options: Any) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.last = nn.Linear(16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.first(images)
        return self.last((hidden + self.body(hidden)).mean((2, 3)))


def test_models_with_shortcuts_and_batch_normalisation_are_counted_with_their_buffers(monkeypatch):
    entry = catalogue.Entry("residual", "", "", catalogue.NoOptions, f"{__name__}:Residual")
    monkeypatch.setitem(catalogue.MODELS, "residual", entry)
    found = of("residual", batch_size=10)
    module = Residual(None)
    assert found.parameters == sum(t.numel() * t.element_size() for t in module.state_dict().values())
    assert found.parameters > found.gradients
    assert found.activations > 10 * 3 * 16 * 28 * 28 * FLOAT


def high_water(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


@pytest.mark.e2e
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("model", "options", "training"),
    [
        ("2nn", {}, {"batch_size": 512, "optimizer": "adam"}),
        ("lenet", {}, {"batch_size": 0}),
        ("cnn", {}, {"batch_size": 32}),
        ("cnn", {}, {"batch_size": 512, "momentum": 0.9}),
        ("payload", {"parameters": 25_000_000}, {"batch_size": 32}),
    ],
)
def test_a_real_worker_takes_about_what_was_estimated(tmp_path, model, options, training):
    process = Process(tmp_path)
    try:
        process.receive()
        process.prepare(model={"name": model, "options": options}, training=training, partition={"count": 4})
        process.train(1, weights.pack(models.initial_weights(model, options, 42)))
        assert process.answer().type == "result"
        measured = high_water(process.popen.pid)
    finally:
        process.end()
    found = footprint.of(Choice(name=model, options=options), SAMPLE, 4, Training(**training))
    print(f"{model} {training}: {found.total / 1e6:.0f} MB estimated, {measured / 1e6:.0f} MB measured")
    assert measured / FACTOR < found.total < measured * FACTOR
