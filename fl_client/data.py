"""Datasets as tensors, from the company's folder, the sample that comes with the client, or a download."""

import gzip
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fl_client import catalogue, environment
from fl_client.errors import DataDamaged, DataError

Split = Literal["train", "test"]
SAMPLES = Path(__file__).parent / "samples"
_FILES = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class Source:
    folder: str
    torchvision: str


FASHION_MNIST = Source("fashion-mnist", "FashionMNIST")
MNIST = Source("mnist", "MNIST")


@dataclass(frozen=True)
class Dataset:
    images: Tensor  # uint8 (n, 1, 28, 28)
    labels: Tensor  # int64 (n,)
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """The images of some rows as float32 in [0, 1]."""
        return self.images[rows].float().div_(255)


def load(name: str, options: Mapping[str, Any], split: Split) -> Dataset:
    entry = catalogue.get(catalogue.DATASETS, name)
    wanted = entry.parse(options).source
    return _load(entry.load(), wanted, split, environment.data_folder(), environment.cache_folder())


@lru_cache(maxsize=4)
def _load(source: Source, wanted: str, split: Split, company: Path | None, cache: Path) -> Dataset:
    if wanted == "auto":
        wanted = _first_present(source, split, company)
    if wanted == "download":
        from fl_client import vision

        images, labels = vision.download(source.torchvision, cache / "data", train=split == "train")
        return _dataset(images, labels.long(), f"{wanted} in {cache / 'data'}")
    folder = _folder(source, wanted, company)
    images_file, labels_file = _paths(folder, split)
    images = torch.from_numpy(read_idx(images_file))
    labels = torch.from_numpy(read_idx(labels_file)).long()
    if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
        raise DataDamaged(f"{images_file} and {labels_file} do not belong together.")
    return _dataset(images, labels, f"{wanted} {folder}")


def _dataset(images: Tensor, labels: Tensor, source: str) -> Dataset:
    return Dataset(images.unsqueeze(1), labels, source)


def _first_present(source: Source, split: Split, company: Path | None) -> str:
    if company and all(path.exists() for path in _paths(company / source.folder, split)):
        return "folder"
    return "sample" if (SAMPLES / source.folder).is_dir() else "download"


def _folder(source: Source, wanted: str, company: Path | None) -> Path:
    if wanted == "sample":
        return SAMPLES / source.folder
    if company is None:
        raise DataError(f"{source.folder} is wanted from the data folder, and CONSTELLATION_DATA names none.")
    return company / source.folder


def _paths(folder: Path, split: Split) -> tuple[Path, Path]:
    prefix = _FILES[split]
    return folder / f"{prefix}-images-idx3-ubyte.gz", folder / f"{prefix}-labels-idx1-ubyte.gz"


def read_idx(path: Path) -> np.ndarray[Any, Any]:
    """The array in a gzipped IDX file: two zeros, type 8, how many dimensions, each one, data."""
    try:
        content = bytearray(gzip.decompress(path.read_bytes()))
    except FileNotFoundError:
        raise DataError(f"No file {path.name} in {path.parent}.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataDamaged(f"{path} cannot be read: {error}") from error
    start = 4 + 4 * content[3] if len(content) >= 4 else 0
    if content[:3] != b"\0\0\x08" or len(content) < start:
        raise DataDamaged(f"{path} is not an IDX file of bytes.")
    shape = np.frombuffer(content, ">u4", content[3], 4).astype(int)
    if len(content) - start != int(np.prod(shape)):
        raise DataDamaged(f"{path} says {tuple(shape.tolist())} and holds {len(content) - start} bytes.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    """The opposite; the same array always gives the same bytes."""
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    temporary = path.with_suffix(".part")
    temporary.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), 9, mtime=0))
    os.replace(temporary, path)
