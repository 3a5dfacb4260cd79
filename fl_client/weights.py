"""Weights as one safetensors document."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fl_client.errors import WeightsError


def pack(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    # safetensors writes the memory behind an array as it lies, so a strided view would be written wrongly.
    packed: bytes = save({name: a if a.flags.c_contiguous else a.copy() for name, a in arrays.items()})
    return packed


def unpack(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    try:
        arrays: dict[str, np.ndarray[Any, Any]] = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"The weights are no safetensors document: {error}") from error
    return arrays
