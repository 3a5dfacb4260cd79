"""Draw the sample of Fashion-MNIST that is installed with the client.

Usage: python -m bench.draw_sample FOLDER, with FOLDER holding the official train-images-idx3-ubyte.gz and
train-labels-idx1-ubyte.gz. Writes fl_client/samples/fashion-mnist/, byte for byte the same on every run.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

from fl_client.data import SAMPLES, read_idx, write_idx

SEED = 20260101
TRAIN_PER_CLASS = 800
TEST_PER_CLASS = 200


def rank(row: int) -> bytes:
    """A row's place in the draw. A hash and no generator, so that no library's version changes the sample."""
    return hashlib.sha256(f"{SEED}:{row}".encode()).digest()


def draw(labels: np.ndarray) -> tuple[list[int], list[int]]:
    """Rows of the training and of the test sample: the lowest ranks of each class, in order of rank."""
    train: list[int] = []
    test: list[int] = []
    for label in np.unique(labels):
        rows = sorted(np.flatnonzero(labels == label).tolist(), key=rank)
        train += rows[:TRAIN_PER_CLASS]
        test += rows[TRAIN_PER_CLASS : TRAIN_PER_CLASS + TEST_PER_CLASS]
    return sorted(train, key=rank), sorted(test, key=rank)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=SAMPLES / "fashion-mnist")
    arguments = parser.parse_args()
    images = read_idx(arguments.folder / "train-images-idx3-ubyte.gz")
    labels = read_idx(arguments.folder / "train-labels-idx1-ubyte.gz")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for prefix, rows in zip(("train", "t10k"), draw(labels), strict=True):
        for kind, array in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
            path = arguments.out / f"{prefix}-{kind}-ubyte.gz"
            write_idx(path, array)
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            print(f"{path.name}  {path.stat().st_size:>9,} bytes  {digest}")


if __name__ == "__main__":
    main()
