import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import draw_sample
from fl_client import data
from fl_client.errors import DataDamaged, DataError

OFFICIAL = os.environ.get("CONSTELLATION_DATA")
needs_official = pytest.mark.skipif(
    not OFFICIAL, reason="CONSTELLATION_DATA names no folder with the official files"
)


@pytest.fixture(autouse=True)
def _nothing_but_the_sample(monkeypatch, tmp_path):
    monkeypatch.delenv("CONSTELLATION_DATA", raising=False)
    monkeypatch.setenv("CONSTELLATION_CACHE", str(tmp_path / "cache"))
    data._load.cache_clear()


def small_set(folder: Path, rows: int = 20) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        data.write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", generator.integers(0, 256, (rows, 28, 28)))
        data.write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(rows) % 10)


@pytest.mark.parametrize(("split", "each"), [("train", 800), ("test", 200)])
def test_the_sample_holds_every_class_equally_often(split, each):
    sample = data.load("fashion-mnist", {}, split)
    assert torch.bincount(sample.labels).tolist() == [each] * 10
    assert sample.images.shape == (10 * each, 1, 28, 28)
    assert sample.images.dtype == torch.uint8


def test_images_become_floats_between_zero_and_one():
    sample = data.load("fashion-mnist", {}, "train")
    inputs = sample.inputs(slice(0, 50))
    assert inputs.dtype == torch.float32
    assert inputs.min() == 0
    assert inputs.max() == 1
    assert torch.equal((inputs * 255).round().to(torch.uint8), sample.images[:50])


def test_training_and_test_sample_share_no_image():
    train, test = (
        {image.numpy().tobytes() for image in data.load("fashion-mnist", {}, split).images}
        for split in ("train", "test")
    )
    assert len(train) > 7900
    assert not train & test


def test_a_dataset_is_read_once_per_process():
    assert data.load("fashion-mnist", {}, "test") is data.load("fashion-mnist", {"source": "auto"}, "test")


def test_auto_takes_the_companys_folder_before_the_sample(monkeypatch, tmp_path):
    small_set(tmp_path / "fashion-mnist")
    monkeypatch.setenv("CONSTELLATION_DATA", str(tmp_path))
    assert len(data.load("fashion-mnist", {}, "train")) == 20
    assert len(data.load("fashion-mnist", {"source": "sample"}, "train")) == 8000


def test_auto_takes_the_sample_where_the_companys_folder_lacks_the_set(monkeypatch, tmp_path):
    monkeypatch.setenv("CONSTELLATION_DATA", str(tmp_path))
    assert len(data.load("fashion-mnist", {}, "train")) == 8000


def test_a_missing_file_is_named_with_the_folder_it_was_looked_for_in(monkeypatch, tmp_path):
    monkeypatch.setenv("CONSTELLATION_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz in .*/mnist") as caught:
        data.load("mnist", {"source": "folder"}, "train")
    assert caught.value.code == "data-missing"


def test_a_folder_that_nobody_configured_says_so():
    with pytest.raises(DataError, match="CONSTELLATION_DATA"):
        data.load("mnist", {"source": "folder"}, "train")


@pytest.mark.parametrize("content", [b"no gzip", b"", b"\x1f\x8b\x08"])
def test_a_damaged_file_is_named(content, monkeypatch, tmp_path):
    small_set(tmp_path / "mnist")
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
    monkeypatch.setenv("CONSTELLATION_DATA", str(tmp_path))
    with pytest.raises(DataDamaged, match="train-images-idx3-ubyte") as caught:
        data.load("mnist", {}, "train")
    assert caught.value.code == "data-damaged"


def test_labels_for_another_number_of_images_are_refused(monkeypatch, tmp_path):
    small_set(tmp_path / "mnist")
    data.write_idx(tmp_path / "mnist" / "train-labels-idx1-ubyte.gz", np.zeros(19))
    monkeypatch.setenv("CONSTELLATION_DATA", str(tmp_path))
    with pytest.raises(DataDamaged, match="belong together"):
        data.load("mnist", {}, "train")


def test_an_array_survives_writing_and_reading(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    data.write_idx(tmp_path / "a.gz", array)
    assert np.array_equal(data.read_idx(tmp_path / "a.gz"), array)


@needs_official
def test_the_sample_is_what_the_script_draws_from_the_official_training_file():
    folder = Path(str(OFFICIAL)) / "fashion-mnist"
    images = data.read_idx(folder / "train-images-idx3-ubyte.gz")
    labels = data.read_idx(folder / "train-labels-idx1-ubyte.gz")
    train, test = draw_sample.draw(labels)
    for rows, split in ((train, "train"), (test, "test")):
        sample = data.load("fashion-mnist", {"source": "sample"}, split)
        assert np.array_equal(sample.images.squeeze(1).numpy(), images[rows])
        assert np.array_equal(sample.labels.numpy(), labels[rows])


@needs_official
def test_torchvision_reads_files_that_are_already_in_its_folder_without_a_network(tmp_path):
    raw = tmp_path / "cache" / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (Path(str(OFFICIAL)) / "mnist").glob("*.gz"):
        shutil.copy(file, raw)
    loaded = data.load("mnist", {"source": "download"}, "test")
    assert loaded.images.shape == (10_000, 1, 28, 28)
    assert loaded.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_the_shipped_files_are_the_ones_that_their_readme_describes():
    readme = (data.SAMPLES / "README.md").read_text()
    files = sorted((data.SAMPLES / "fashion-mnist").glob("*.gz"))
    assert len(files) == 4
    for file in files:
        assert file.stat().st_size < 5_000_000
        digest = hashlib.sha256(data.read_idx(file).tobytes()).hexdigest()
        assert f"| {file.name} | `{digest}` |" in readme
