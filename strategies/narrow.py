"""A model in half the space: float32 and float64 tensors as float16, which keeps about three decimal digits.

The document says in its metadata which types the tensors had, so that whoever computes with it widens them
again. What was rounded away stays away.
"""

import json
from typing import Any

import numpy as np
from safetensors.numpy import save

from strategies.document import Arrays, metadata, unpack
from strategies.exceptions import PackingError

WIDTHS = "widths"
_WIDE = frozenset(map(np.dtype, ("<f4", "<f8")))


def narrow(document: bytes) -> bytes | None:
    """The document in float16; None where a value lies outside its range (65504), or nothing gets smaller."""
    arrays = unpack(document)
    widths = {name: str(array.dtype) for name, array in arrays.items() if array.dtype in _WIDE}
    small: Arrays = dict(arrays)
    with np.errstate(over="ignore"):
        small |= {name: np.asarray(arrays[name].astype("<f2"), order="C") for name in widths}
    if not widths or not all(np.isfinite(small[name]).all() for name in widths):
        return None
    data: bytes = save(small, metadata={WIDTHS: json.dumps(widths, sort_keys=True)})
    return data


def widen(document: bytes) -> Arrays:
    """The arrays of a document in the types that they had before `narrow`; of any other as they are."""
    arrays = unpack(document)
    widths = _widths(document)
    return {name: array.astype(widths[name]) if name in widths else array for name, array in arrays.items()}


def _widths(document: bytes) -> dict[str, Any]:
    found = metadata(document).get(WIDTHS, "{}")
    try:
        widths = json.loads(found)
        return {name: np.dtype(width) for name, width in widths.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise PackingError(f"the document does not say which types its tensors had: {error}") from error
