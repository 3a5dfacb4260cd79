"""Random draws that depend on the job's seed, the round and the partition and on nothing else."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    ROWS = 1
    HOLDOUT = 2
    ORDER = 3


def generator(seed: int, purpose: Purpose, *keys: int) -> np.random.Generator:
    # The keys go in as a spawn key: as plain entropy, [5] and [5, 0] would be the same stream.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *keys)))
