import subprocess
import sys

import numpy as np
import pytest
import torch

from fl_client import catalogue, models, weights
from fl_client.errors import BadOptions, UnknownName, WeightsError


@pytest.mark.parametrize(("name", "parameters"), [("lenet", 44_426), ("2nn", 199_210), ("cnn", 1_663_370)])
def test_a_model_has_the_published_number_of_parameters_and_answers_ten_classes(name, parameters):
    model = models.build(name, {}, seed=1)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_payload_has_exactly_the_parameters_and_tensors_asked_for():
    arrays = models.initial_weights("payload", {"parameters": 1003, "tensors": 4}, seed=1)
    assert [array.size for array in arrays.values()] == [251, 251, 251, 250]
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_a_payload_that_cannot_fill_its_tensors_is_refused():
    with pytest.raises(BadOptions, match="do not fill"):
        models.build("payload", {"parameters": 3, "tensors": 4}, seed=1)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    one, again, other = (weights.pack(models.initial_weights("lenet", {}, seed)) for seed in (7, 7, 8))
    assert one == again
    assert one != other


def test_building_a_model_leaves_the_random_state_of_the_process_alone():
    before = torch.get_rng_state()
    models.build("lenet", {}, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_survive_the_way_out_the_wire_and_the_way_in():
    source, target = models.build("cnn", {}, seed=1), models.build("cnn", {}, seed=2)
    models.load_weights(target, weights.unpack(weights.pack(models.read_weights(source))))
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_weights_that_were_read_do_not_follow_the_model():
    model = models.build("lenet", {}, seed=1)
    arrays = models.read_weights(model)
    before = arrays["conv1.weight"].copy()
    with torch.no_grad():
        model.conv1.weight.add_(1)
    assert np.array_equal(arrays["conv1.weight"], before)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda arrays: arrays.pop("fc3.bias"), "lack fc3.bias"),
        (lambda arrays: arrays.update(more=np.zeros(1, np.float32)), "hold more"),
        (lambda arrays: arrays.update({"fc3.bias": np.zeros(1, np.float32)}), r"fc3.bias has shape \(1,\)"),
        (lambda arrays: arrays.update({"fc3.bias": np.zeros(10)}), "fc3.bias is float64"),
    ],
)
def test_weights_that_are_not_the_models_own_are_refused_by_name(change, complaint):
    model = models.build("lenet", {}, seed=1)
    arrays = models.read_weights(model)
    change(arrays)
    with pytest.raises(WeightsError, match=complaint):
        models.load_weights(model, arrays)


def test_a_strided_view_and_a_number_without_dimensions_are_packed_as_they_read():
    arrays = {"view": np.arange(6, dtype=np.float32).reshape(2, 3).T, "number": np.array(3, np.int64)}
    back = weights.unpack(weights.pack(arrays))
    assert back["number"].shape == ()
    assert np.array_equal(back["view"], arrays["view"])


def test_bytes_that_are_no_weights_are_refused():
    with pytest.raises(WeightsError, match="no safetensors"):
        weights.unpack(b"x" * 40)


def test_an_unknown_model_is_refused_with_the_names_that_exist():
    with pytest.raises(UnknownName, match="2nn, cnn, lenet, payload"):
        models.build("resnet", {}, seed=1)


def test_an_option_that_a_model_does_not_have_is_refused():
    with pytest.raises(BadOptions, match="depth"):
        models.build("lenet", {"depth": 3}, seed=1)


def test_the_catalogue_describes_every_entry_and_each_entry_loads():
    described = catalogue.describe()
    assert {kind: len(entries) for kind, entries in described.items()} == {
        "models": 4,
        "datasets": 2,
        "partitions": 3,
    }
    for kind, table in catalogue.TABLES.items():
        for entry, description in zip(table.values(), described[kind], strict=True):
            assert entry.load() is not None
            assert description["options"]["additionalProperties"] is False


def test_reading_the_catalogue_loads_nothing_heavy():
    script = (
        "import sys; from fl_client import catalogue, wire, frames; catalogue.describe()\n"
        "print(sorted({'torch', 'numpy', 'flwr', 'datasets', 'flwr_datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
