"""The sample that tells the platform how the machine is."""

from typing import Any

import psutil

from fl_client import hardware


def sample() -> dict[str, Any]:
    """CPU use since the last sample in per cent, free memory, each GPU's memory."""
    return {
        "cpu": psutil.cpu_percent(interval=None),
        "ram_free_bytes": psutil.virtual_memory().available,
        "gpus": hardware.gpus(),
    }
