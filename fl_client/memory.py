"""Fitting a batch into the memory that is free.

A batch may go through the model in portions whose gradients are added up: the step of the optimiser is that
of the whole batch, so neither the effective batch nor the mathematics change. (A model that normalises over
the batch would see the portions; none of the catalogue does.)
"""

import gc
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

log = logging.getLogger("constellation.worker")

T = TypeVar("T")

# How the allocators of the processor and of Apple's MPS say it; CUDA's has a class of its own.
SAID = ("out of memory", "can't allocate memory", "not enough memory")
# Of the free memory, this much is planned with: allocators round up and leave gaps.
PLANNED = 0.8
FEW = 8


def is_exhaustion(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in SAID)


class Portions:
    """How many rows go through the model at once: all of a batch, until that was once too many."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.most: int | None = None
        self.shortages = 0

    def limit(self, rows: int) -> None:
        self.most = rows if self.most is None else min(self.most, rows)

    def run(self, rows: int, attempt: Callable[[int], T]) -> T:
        """`attempt(n)` with n rows at once; after a shortage of memory again with half as many.

        Raises what the allocator raised when not even one row fits.
        """
        while True:
            portion = min(rows, self.most or rows)
            try:
                return attempt(portion)
            except (RuntimeError, MemoryError) as error:
                if portion <= 1 or not is_exhaustion(error):
                    raise
            # Only here, outside the handler, does nothing hold the tensors of the failed attempt any more.
            self.shortages += 1
            self.most = (portion + 1) // 2
            log.warning("too little memory for %s rows at once; trying %s", portion, self.most)
            self._give_back()

    def _give_back(self) -> None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class Meter(Protocol):
    def free(self) -> int:
        """Bytes that training may still take."""

    def peak(self, rows: int) -> int:
        """Bytes that a step with so many rows takes at its worst."""


def affordable(meter: Meter, rows: int) -> int:
    """How many rows at once fit: what one more row takes is seen by trying few."""
    few = min(FEW, rows)
    if few < 2:
        return rows
    alone, some = meter.peak(1), meter.peak(few)
    a_row = max(1, (some - alone) // (few - 1))
    room = int(meter.free() * PLANNED) - alone
    return max(1, min(rows, 1 + room // a_row))


class CudaMeter:
    """Measures on the device itself. `step(n)` trains on n rows and leaves no gradients behind."""

    def __init__(self, device: torch.device, step: Callable[[int], None], leave_bytes: int = 0) -> None:
        self._device, self._step, self._leave = device, step, leave_bytes

    def free(self) -> int:
        free, _ = torch.cuda.mem_get_info(self._device)
        cached = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return max(0, int(free) + int(cached) - self._leave)

    def peak(self, rows: int) -> int:
        torch.cuda.reset_peak_memory_stats(self._device)
        before = int(torch.cuda.memory_allocated(self._device))
        self._step(rows)
        return int(torch.cuda.max_memory_allocated(self._device)) - before


def leave_free(device: torch.device, leave_bytes: int) -> None:
    """Let this process never take more of a GPU than leaves `leave_bytes` to others."""
    if device.type == "cuda" and leave_bytes > 0:
        free, total = torch.cuda.mem_get_info(device)
        share = max(0.01, min(1.0, (free - leave_bytes) / total))
        torch.cuda.set_per_process_memory_fraction(share, device)
