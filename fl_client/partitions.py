"""Which rows of a dataset belong to which partition; the same on every machine for the same seed.

The drawing is Flower Datasets' own. It sees the labels only, in an order shuffled from the seed, so that rows
of one class are dealt out at random too.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from fl_client import catalogue
from fl_client.draws import Purpose, generator
from fl_client.errors import PartitionError

Labels = np.ndarray[Any, Any]
Rows = np.ndarray[Any, np.dtype[np.int64]]


def indices(
    scheme: str, options: Mapping[str, Any], labels: Labels, count: int, index: int, seed: int
) -> Rows:
    """The rows of one partition, as positions in the dataset."""
    if not 0 <= index < count:
        raise PartitionError(f"Partition {index} of {count} does not exist.")
    partitioner = _partitioner(scheme, options, labels, count, seed)
    return np.asarray(_partition(partitioner, index, scheme)["row"], dtype=np.int64)


def sizes(scheme: str, options: Mapping[str, Any], labels: Labels, count: int, seed: int) -> list[int]:
    """How many rows each partition has."""
    partitioner = _partitioner(scheme, options, labels, count, seed)
    return [len(_partition(partitioner, index, scheme)) for index in range(count)]


def _partitioner(scheme: str, options: Mapping[str, Any], labels: Labels, count: int, seed: int) -> Any:
    entry = catalogue.get(catalogue.PARTITIONS, scheme)
    parsed = entry.parse(options)
    if not 1 <= count <= len(labels):
        raise PartitionError(f"{len(labels)} rows cannot be dealt to {count} partitions.")
    # Importing either costs more than a second and 180 MB, so it waits until a partition is drawn.
    from datasets import Dataset

    partitioner = entry.load()(parsed, len(labels), count, seed)
    order = generator(seed, Purpose.ROWS).permutation(len(labels))
    partitioner.dataset = Dataset.from_dict({"row": order, "label": labels[order]})
    return partitioner


def _partition(partitioner: Any, index: int, scheme: str) -> Any:
    try:
        with warnings.catch_warnings():
            # It warns of each attempt that came out too small; what counts is whether the last one did.
            warnings.simplefilter("ignore")
            return partitioner.load_partition(index)
    except ValueError as error:
        raise PartitionError(f"No {scheme} partition can be drawn: {error}") from error


def iid(_options: catalogue.NoOptions, _rows: int, count: int, _seed: int) -> Any:
    from flwr_datasets.partitioner import IidPartitioner

    return IidPartitioner(count)


def dirichlet(options: catalogue.DirichletOptions, rows: int, count: int, seed: int) -> Any:
    from flwr_datasets.partitioner import DirichletPartitioner

    if options.min_size * count > rows:
        raise PartitionError(f"{rows} rows do not give {count} partitions of at least {options.min_size}.")
    return DirichletPartitioner(
        count, partition_by="label", alpha=options.alpha, min_partition_size=options.min_size, seed=seed
    )


def shards(options: catalogue.ShardOptions, rows: int, count: int, seed: int) -> Any:
    from flwr_datasets.partitioner import ShardPartitioner

    needed = count * options.shards_per_partition
    if needed > rows:
        raise PartitionError(f"{rows} rows cannot be cut into {needed} shards.")
    return ShardPartitioner(
        count, partition_by="label", num_shards_per_partition=options.shards_per_partition, seed=seed
    )
