"""The sample that tells the platform how the machine is."""

import time
from typing import Any

import psutil

from fl_client.home import Home
from fl_client.policy.facts import Facts
from fl_client.senses.gpus import Gpu


class Traffic:
    """Bytes a second since the last look, over all interfaces."""

    def __init__(self) -> None:
        self._at, self._received, self._sent = time.monotonic(), *_counted()

    def rates(self) -> dict[str, int]:
        now, (received, sent) = time.monotonic(), _counted()
        seconds = max(0.001, now - self._at)
        rates = {
            # The counters begin anew when an interface is taken away.
            "received_bytes_a_second": max(0, round((received - self._received) / seconds)),
            "sent_bytes_a_second": max(0, round((sent - self._sent) / seconds)),
        }
        self._at, self._received, self._sent = now, received, sent
        return rates


def _counted() -> tuple[int, int]:
    counters = psutil.net_io_counters()
    return (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)


def sample(home: Home, facts: Facts, gpus: tuple[Gpu, ...], traffic: Traffic) -> dict[str, Any]:
    """CPU in per cent of the machine since the last sample; sizes in bytes. None: nobody can tell here."""
    disk = psutil.disk_usage(str(home.path))
    return {
        "cpu": psutil.cpu_percent(interval=None),
        "cpu_by_others": facts.cpu_by_others,
        "ram_free_bytes": facts.ram_available_bytes or psutil.virtual_memory().available,
        "disk_free_bytes": disk.free,
        "disk_total_bytes": disk.total,
        **traffic.rates(),
        "battery": facts.battery_percent,
        "on_ac": facts.on_ac,
        "temperature": facts.temperature,
        "gpus": [gpu_sample(gpu) for gpu in gpus],
    }


def gpu_sample(gpu: Gpu) -> dict[str, Any]:
    return {
        "name": gpu.facts.name,
        "total_bytes": gpu.facts.total_bytes,
        "free_bytes": gpu.facts.free_bytes,
        "load": gpu.load,
        "watts": gpu.power_watts,
        "temperature": gpu.facts.temperature,
        "driver": gpu.driver,
    }
