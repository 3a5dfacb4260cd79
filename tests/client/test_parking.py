"""A round that is parked goes on elsewhere as if nothing had happened."""

import numpy as np
import pytest
import torch

from fl_client import assignment as assignments
from fl_client import models, snapshot, weights
from fl_client.errors import Parked, SnapshotError
from fl_client.fit import Watch, examples_of
from fl_client.training import Trainer
from tests.client.assignments import assignment

CPU = torch.device("cpu")


def trainer(**changes):
    torch.set_num_threads(1)
    made = Trainer(assignments.read(assignment(**changes)), CPU)
    made.prepare()
    return made


def start():
    return models.initial_weights("2nn", {}, seed=42)


def parked_after(batches, made, round_number=2, config=None):
    """What is kept of a round that was parked after so many batches."""
    kept, seen = [], []
    watch = Watch(
        on_batch=lambda done, _: seen.append(done),
        should_park=lambda: len(seen) == batches,
        keep=kept.append,
    )
    with pytest.raises(Parked):
        made.train(round_number, start(), config or {}, watch)
    assert len(kept) == 1
    return kept[0]


@pytest.mark.parametrize("batches", [0, 1, 7, 19, 20, 21, 39])
@pytest.mark.parametrize(
    "training",
    [
        {"epochs": 2},
        {"epochs": 2, "momentum": 0.9, "weight_decay": 1e-4},
        {"epochs": 2, "optimizer": "adam", "learning_rate": 0.001},
        {"epochs": 2, "optimizer": "adamw", "learning_rate": 0.001, "holdout": 0.0},
    ],
)
def test_a_parked_round_ends_with_the_bytes_of_one_that_never_stopped(training, batches, tmp_path):
    whole = trainer(training=training).train(2, start(), {})
    path = tmp_path / "work" / "kept.safetensors"
    parked_after(batches, trainer(training=training)).write(path)
    resumed = trainer(training=training).train(2, start(), {}, kept=snapshot.read(path))
    assert weights.pack(resumed.arrays) == weights.pack(whole.arrays)
    assert resumed.metrics["train-loss"] == whole.metrics["train-loss"]
    assert resumed.examples == whole.examples == 400


def test_the_proximal_term_pulls_towards_the_weights_that_came_in_also_after_parking():
    config = {"proximal-mu": 0.5}
    whole = trainer().train(2, start(), config)
    kept = parked_after(9, trainer(), config=config)
    resumed = trainer().train(2, start(), config, kept=kept)
    assert weights.pack(resumed.arrays) == weights.pack(whole.arrays)


def test_the_incoming_model_is_judged_once():
    made = trainer(training={"holdout": 0.25})
    kept = parked_after(3, made)
    assert kept.head.metrics["eval-loss"] > 0
    resumed = made.train(2, start(), {}, kept=kept)
    assert resumed.metrics["eval-loss"] == kept.head.metrics["eval-loss"]


def test_a_snapshot_says_where_it_was_taken_and_what_it_may_claim(tmp_path):
    path = tmp_path / "kept.safetensors"
    parked_after(5, trainer(training={"epochs": 2})).write(path)
    head = snapshot.read_head(path)
    assert (head.run, head.round, head.fence, head.done, head.batches, head.examples) == (12, 2, 7, 5, 40, 50)
    assert head.seconds > 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_snapshots_are_kept_after_a_batch_whenever_one_is_due():
    kept = []
    trainer().train(1, start(), {}, Watch(is_due=lambda: True, keep=kept.append))
    assert [each.head.done for each in kept] == list(range(1, 20))
    model = kept[9].weights
    assert all(np.isfinite(array).all() for array in model.values())


@pytest.mark.parametrize(
    ("done", "batches", "rows", "claims"),
    [(0, 20, 400, 0), (1, 20, 400, 20), (19, 20, 400, 380), (5, 40, 400, 50), (1, 1000, 400, 1)],
)
def test_part_of_a_round_claims_the_share_of_the_rows_that_it_worked_through(done, batches, rows, claims):
    assert examples_of(done, batches, rows) == claims


def test_a_snapshot_of_another_training_is_refused():
    kept = parked_after(5, trainer(training={"epochs": 2}))
    with pytest.raises(SnapshotError, match="40 batches, not 20"):
        trainer().train(2, start(), {}, kept=kept)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_file_is_an_error_with_a_code(content, tmp_path):
    path = tmp_path / "kept.safetensors"
    path.write_bytes(content)
    with pytest.raises(SnapshotError) as caught:
        snapshot.read_head(path)
    assert caught.value.code == "snapshot-damaged"


def test_no_file_is_no_snapshot(tmp_path):
    assert snapshot.read_head(tmp_path / "none.safetensors") is None
