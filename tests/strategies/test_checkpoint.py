import hashlib
import os

import numpy as np
import pytest

from strategies import catalog, checkpoint
from strategies.checkpoint import restore_state, state_of
from strategies.document import pack, unpack
from strategies.exceptions import CheckpointError, DiskFull

from .world import OPTIONS, Grid, federated, model, reply_content, start


def test_names_sort_by_job_run_and_round():
    assert checkpoint.model_path(3, 1, 7) == "job-000003/run-0001-round-000007.safetensors"
    state = checkpoint.state_path(checkpoint.model_path(3, 1, 7))
    assert state == "job-000003/run-0001-round-000007.state.safetensors"
    paths = [checkpoint.model_path(3, run, round) for run, round in ((1, 2), (1, 10), (2, 11))]
    assert sorted(paths) == paths


def test_what_was_written_is_read_back_with_its_digest_and_size(tmp_path):
    path = tmp_path / checkpoint.model_path(3, 1, 7)
    data = pack(model())
    written = checkpoint.write(path, data)
    assert written == (hashlib.sha256(data).hexdigest(), len(data))
    assert checkpoint.read(path, written.sha256) == data
    assert os.listdir(path.parent) == [path.name]


def test_a_checkpoint_replaces_an_older_one_of_the_same_name(tmp_path):
    path = tmp_path / "model"
    checkpoint.write(path, b"old")
    checkpoint.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "model"
    checkpoint.write(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="No space"):
        checkpoint.write(path, b"new")
    assert os.listdir(tmp_path) == ["model"]
    assert path.read_bytes() == b"old"


def test_a_fault_of_the_disk_is_not_taken_for_a_full_one(tmp_path, monkeypatch):
    def broken(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        checkpoint.write(tmp_path / "model", b"new")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"chec", b"Checkpoint"])
def test_a_cut_or_changed_file_is_refused(tmp_path, damage):
    path = tmp_path / "model"
    sha256, _ = checkpoint.write(path, b"checkpoint")
    path.write_bytes(damage)
    with pytest.raises(CheckpointError, match="model has sha256"):
        checkpoint.read(path, sha256)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="gone"):
        checkpoint.read(tmp_path / "gone", "0")


def trained(node_id, header, content):
    """Devices whose answer depends on node and round alone."""
    draw = np.random.default_rng(100 * header["round"] + node_id)
    arrays = {}
    for name, array in unpack(header["weights"]).items():
        step = 0.1 * draw.standard_normal(array.shape)
        arrays[name] = (array + step if array.dtype.kind == "f" else array + node_id).astype(array.dtype)
    return reply_content(arrays, examples=10 * node_id, round=header["round"])


def run_rounds(inner, arrays, rounds, first_round=1):
    strategy = federated(inner, max_examples=lambda node: 1000, first_round=first_round, quorum=3)
    return start(strategy, Grid([1, 2, 3], trained), arrays, rounds)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_resumed_run_equals_an_uninterrupted_one(name, tmp_path):
    whole = run_rounds(catalog.build(name, OPTIONS[name]), model(), 6)

    first = catalog.build(name, OPTIONS[name])
    half = run_rounds(first, model(), 3)
    weights = checkpoint.write(tmp_path / "model", pack(half))
    state = checkpoint.write(tmp_path / "state", pack(state_of(first)))

    second = catalog.build(name, OPTIONS[name])
    restore_state(second, unpack(checkpoint.read(tmp_path / "state", state.sha256)))
    resumed = run_rounds(
        second, unpack(checkpoint.read(tmp_path / "model", weights.sha256)), 3, first_round=4
    )

    assert resumed.keys() == whole.keys()
    for tensor, array in whole.items():
        assert resumed[tensor].dtype == array.dtype
        np.testing.assert_array_equal(resumed[tensor], array, err_msg=tensor)


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi"])
def test_a_run_resumed_without_the_state_would_differ(name):
    whole = run_rounds(catalog.build(name, OPTIONS[name]), model(), 4)
    half = run_rounds(catalog.build(name, OPTIONS[name]), model(), 2)
    resumed = run_rounds(catalog.build(name, OPTIONS[name]), half, 2, first_round=3)
    assert not np.array_equal(resumed["zeta.weight"], whole["zeta.weight"])


def test_state_has_the_shapes_of_the_floating_tensors():
    inner = catalog.build("fedadam", {})
    assert state_of(inner) == {}
    run_rounds(inner, model(), 1)
    state = state_of(inner)
    assert {name: array.shape for name, array in state.items()} == {
        "m_t/alpha.half": (5,),
        "m_t/norm.scale": (),
        "m_t/zeta.weight": (4, 3),
        "v_t/alpha.half": (5,),
        "v_t/norm.scale": (),
        "v_t/zeta.weight": (4, 3),
    }


def test_stateless_strategies_have_no_state():
    for name in ("fedavg", "fedprox"):
        inner = catalog.build(name, {})
        run_rounds(inner, model(), 1)
        assert state_of(inner) == {}


def test_the_state_of_another_strategy_is_refused():
    inner = catalog.build("fedadam", {})
    run_rounds(inner, model(), 1)
    for name in ("fedavg", "fedavgm"):
        with pytest.raises(CheckpointError, match="m_t, v_t"):
            restore_state(catalog.build(name, {}), state_of(inner))
    with pytest.raises(CheckpointError, match="momentum"):
        restore_state(catalog.build("fedavgm", {}), {"momentum_vector/x": np.zeros(2)})
