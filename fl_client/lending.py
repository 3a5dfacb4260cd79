"""How much of the machine a worker gets, and how it is told."""

from dataclasses import dataclass
from typing import Self

from fl_client import environment
from fl_client.policy.resources import Resources


@dataclass(frozen=True)
class Lent:
    threads: int
    nice: int = 0
    gpus: tuple[int, ...] | None = None  # by number; none at all: (); None: whatever torch finds
    gpu_free_bytes: int = 0
    ram_bytes: int | None = None  # None: no limit

    @classmethod
    def freely(cls) -> Self:
        """What a worker takes where no policy has spoken yet."""
        return cls(environment.threads())

    @classmethod
    def by(cls, resources: Resources) -> Self:
        return cls(
            threads=min(resources.cores, environment.threads()),
            nice=resources.nice,
            gpus=None if resources.other_gpus else resources.gpus,
            gpu_free_bytes=resources.gpu_free_bytes,
            ram_bytes=resources.ram_bytes,
        )

    def variables(self) -> dict[str, str]:
        """The environment of a worker that gets this; what is lent later comes in a frame."""
        told = {
            "CONSTELLATION_THREADS": str(self.threads),
            "CONSTELLATION_NICE": str(self.nice),
            "CONSTELLATION_GPU_FREE_BYTES": str(self.gpu_free_bytes),
        }
        if self.gpus is None:
            return told
        # The numbers are the driver's, which CUDA counts in another order unless it is told.
        told |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, self.gpus))}
        return told if self.gpus else told | {"CONSTELLATION_DEVICE": "cpu"}
