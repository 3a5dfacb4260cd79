"""All senses together: one look at the machine as `Facts`, cheap enough for every second."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import psutil

from fl_client.policy.facts import Facts
from fl_client.senses import gpus, heat, load, network, power, programs
from fl_client.senses.dbus import Bus, system_bus
from fl_client.senses.gpus import Gpu
from fl_client.senses.idle import chooser
from fl_client.senses.idle.reading import Reading
from fl_client.senses.load import Memory, OtherLoad
from fl_client.senses.network import Network
from fl_client.senses.power import Power
from fl_client.senses.sense import Sense

GIGABYTE = 1e9


@dataclass(frozen=True)
class Senses:
    idle: Sense[Reading]
    power: Sense[Power]
    cpu: Sense[float | None]
    memory: Sense[Memory]
    our_memory: Sense[int]
    gpus: Sense[tuple[Gpu, ...]]
    heat: Sense[float | None]
    network: Sense[Network]
    programs: Sense[frozenset[str]]


@dataclass(frozen=True)
class Row:
    """A line for `constellation doctor`."""

    what: str
    source: str
    value: str  # empty while it is unknown
    why: str  # it is unknown; empty when it is known


class Reader:
    """`read` may be called from one thread at a time."""

    def __init__(
        self,
        our_pids: Callable[[], Iterable[int]],
        *,
        clock: Callable[[], float] = time.monotonic,
        senses: Senses | None = None,
    ) -> None:
        """`our_pids` tells every process of ours: the agent, its workers and what they started."""
        self._clock = clock
        self._senses = senses or standard(our_pids, clock)
        self._cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1

    def read(self) -> Facts:
        now = self._clock()
        senses = self._senses
        idle, supply, net = senses.idle.value(now), senses.power.value(now), senses.network.value(now)
        memory = senses.memory.value(now)
        return Facts(
            input_idle_seconds=idle.idle_seconds,
            session=idle.session,
            on_ac=supply.on_ac,
            battery_percent=supply.battery_percent,
            cpu_by_others=senses.cpu.value(now),
            cores=self._cores,
            ram_total_bytes=memory.total_bytes,
            ram_available_bytes=memory.available_bytes,
            ram_by_us_bytes=senses.our_memory.value(now),
            gpus=tuple(each.facts for each in senses.gpus.value(now)),
            temperature=senses.heat.value(now),
            network_metered=net.metered,
            network_name=net.name,
            programs=senses.programs.value(now),
        )

    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs with what `Facts` leaves out: driver and power."""
        return self._senses.gpus.value(self._clock())

    def describe(self) -> list[Row]:
        now = self._clock()
        senses: list[Sense[object]] = [getattr(self._senses, each.name) for each in fields(self._senses)]
        # The text is asked for first: only then is known where it came from, and why there is none.
        texts = [each.text(now) for each in senses]
        return [Row(each.what, each.source, text, each.why) for each, text in zip(senses, texts, strict=True)]


def standard(our_pids: Callable[[], Iterable[int]], clock: Callable[[], float]) -> Senses:
    """Each sense with the time for which its last value is good enough."""
    idle = chooser.choose()
    others = OtherLoad()
    bus = Bus(system_bus)
    return Senses(
        idle=Sense("input and session", lambda: idle.source, idle.read, Reading(), show=_say_reading),
        power=Sense("power supply", "psutil", power.read, Power(), period=5.0, show=_say_power),
        cpu=Sense(
            "processor load by others",
            "psutil",
            lambda: others.feed(load.sample(our_pids(), clock())),
            None,
            show=_say_load,
        ),
        memory=Sense("memory", "psutil", load.memory, Memory(), show=_say_memory),
        our_memory=Sense(
            "memory held by us",
            "psutil",
            lambda: load.our_memory(our_pids()),
            0,
            period=10.0,
            show=_say_bytes,
        ),
        gpus=Sense("GPUs", "NVML", lambda: gpus.read(frozenset(our_pids())), (), period=2.0, show=_say_gpus),
        heat=Sense(
            "processor temperature", "psutil", heat.read, None, period=10.0, show=lambda t: f"{t:.0f} °C"
        ),
        network=Sense(
            "network", "default route", lambda: network.read(bus), Network(), period=10.0, show=_say_network
        ),
        programs=Sense(
            "programs",
            "psutil",
            programs.read,
            frozenset(),
            period=5.0,
            show=lambda names: f"{len(names)} names",
        ),
    )


def _say_reading(reading: Reading) -> str:
    idle = "unknown" if reading.idle_seconds is None else f"{reading.idle_seconds:.0f} s"
    return f"idle {idle}, session {reading.session or 'unknown'}"


def _say_power(supply: Power) -> str:
    source = {True: "on mains", False: "on battery", None: "source unknown"}[supply.on_ac]
    return source if supply.battery_percent is None else f"{source}, battery {supply.battery_percent:.0f} %"


def _say_load(percent: float | None) -> str:
    return "after the next look" if percent is None else f"{percent:.0f} %"


def _say_memory(memory: Memory) -> str:
    return f"{_say_bytes(memory.available_bytes)} of {_say_bytes(memory.total_bytes)} available"


def _say_bytes(size: int) -> str:
    return f"{size / GIGABYTE:.1f} GB"


def _say_gpus(found: tuple[Gpu, ...]) -> str:
    return "; ".join(
        f"{gpu.facts.name}, {_say_bytes(gpu.facts.free_bytes)} of {_say_bytes(gpu.facts.total_bytes)} free, "
        f"driver {gpu.driver}"
        for gpu in found
    )


def _say_network(net: Network) -> str:
    metered = {True: "metered", False: "not metered", None: "metered or not is unknown"}[net.metered]
    return ", ".join(part for part in (net.name, f"interface {net.interface}", metered) if part)
