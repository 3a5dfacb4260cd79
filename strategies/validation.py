"""Which replies may enter a model.

An accepted reply has exactly the reference's names, shapes and dtypes, only finite numbers, a weight that its
device can have, and belongs to this run, round and lease. Anything else is Rejected with one of CODES and a
sentence that names the tensor, what came and what is allowed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import RecordDict

from strategies.document import shorten
from strategies.exceptions import PackingError, Rejected
from strategies.packing import Reply, read_reply

CODES = ("malformed", "missing-key", "extra-key", "shape", "dtype", "non-finite", "weight", "stale")

# What a document may hold beyond the tensors' own bytes: names, offsets, alignment, metadata.
HEADER_SLACK_BYTES = 65_536
HEADER_BYTES_PER_TENSOR = 1_024
BLOCK = 1 << 18


def first_non_finite(array: npt.NDArray[Any]) -> int | None:
    """The flat index of the first NaN or infinity, looking at a block at a time; None if all is finite."""
    if array.dtype.kind != "f":
        return None
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        finite = np.isfinite(flat[start : start + BLOCK])
        if not finite.all():
            return start + int(np.argmin(finite))
    return None


class Validator:
    """Checks the replies of one round against the model that was sent out."""

    def __init__(
        self, reference: Mapping[str, npt.NDArray[Any]], *, run: int, round: int, fence: int
    ) -> None:
        self._expected = {name: (array.shape, array.dtype) for name, array in reference.items()}
        self._origin = {"run": run, "round": round, "fence": fence}
        sizes = sum(array.nbytes for array in reference.values())
        names = sum(len(name.encode()) for name in reference)
        self.max_bytes = sizes + names + HEADER_SLACK_BYTES + HEADER_BYTES_PER_TENSOR * len(reference)

    def read(self, content: RecordDict, max_examples: int) -> Reply:
        """The reply in a message's content, checked."""
        try:
            reply = read_reply(content, self.max_bytes)
        except PackingError as error:
            raise Rejected("malformed", str(error)) from error
        self.check(reply, max_examples)
        return reply

    def check(self, reply: Reply, max_examples: int) -> None:
        self._check_origin(reply)
        self._check_weight(reply.examples, max_examples)
        self._check_names(reply.arrays)
        for name, array in reply.arrays.items():
            self._check_tensor(name, array)

    def _check_origin(self, reply: Reply) -> None:
        for what, wanted in self._origin.items():
            came = getattr(reply, what)
            if came != wanted:
                raise Rejected("stale", f"the reply is for {what} {shorten(came)}, this is {what} {wanted}")

    def _check_weight(self, examples: object, max_examples: int) -> None:
        if type(examples) is not int or not 1 <= examples <= max_examples:
            raise Rejected(
                "weight", f"examples is {shorten(examples)}, allowed is an integer from 1 to {max_examples}"
            )

    def _check_names(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        missing = self._expected.keys() - arrays.keys()
        if missing:
            raise Rejected("missing-key", f"{_listing(missing)} of {len(self._expected)} is missing")
        extra = arrays.keys() - self._expected.keys()
        if extra:
            raise Rejected("extra-key", f"{_listing(extra)} came, which the model does not have")

    def _check_tensor(self, name: str, array: npt.NDArray[Any]) -> None:
        shape, dtype = self._expected[name]
        if array.shape != shape:
            raise Rejected("shape", f"tensor {name!r} has shape {array.shape}, allowed is {shape}")
        if array.dtype != dtype:
            raise Rejected("dtype", f"tensor {name!r} has dtype {array.dtype}, allowed is {dtype}")
        index = first_non_finite(array)
        if index is not None:
            value = float(array.reshape(-1)[index])
            raise Rejected(
                "non-finite", f"tensor {name!r} has {value} at flat index {index}, allowed are finite numbers"
            )


def _listing(names: set[str]) -> str:
    shown = ", ".join(shorten(name) for name in sorted(names)[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensor {shown}{more}"
