"""What a fleet that only waits costs the server: many devices at one web process, a sample every 5 s each.

    python -m bench.fleet [--devices 200] [--seconds 60] [--quick]

bench/README.md says what is measured and how.
"""

import argparse
import asyncio
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import fleet_server
from bench.fleet_devices import TELEMETRY_SECONDS, Device, Watcher
from bench.fleet_server import ROLES, Machine, Server
from bench.processes import Failed, Processes

HANDSHAKES_AT_ONCE = 20
CONNECT_SECONDS = 180.0
# Every device changes its decision about once in so many seconds.
TURN_SECONDS = 30.0


@dataclass(frozen=True)
class Usage:
    cpu: dict[str, float]
    memory: dict[str, int]


@dataclass(frozen=True)
class Result:
    devices: int
    seconds: float
    cpu: dict[str, float]  # role → per cent of a core
    memory: dict[str, int]
    delays: list[float]
    missing: int
    frames: int
    lost: int


def measure(count: int, seconds: float) -> Result:
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with Processes(folder) as processes:
            server = Server(folder, processes)
            server.prepare()
            server.start()
            machines = server.enrol(count)
            cookie = server.cookie()
            try:
                return asyncio.run(_observe(server, processes, machines, cookie, seconds))
            finally:
                fleet_server.close()


async def _observe(
    server: Server, processes: Processes, machines: list[Machine], cookie: str, seconds: float
) -> Result:
    watcher = Watcher(server.port, cookie)
    devices = [Device(machine, server.port) for machine in machines]
    gate = asyncio.Semaphore(HANDSHAKES_AT_ONCE)
    tasks = [asyncio.create_task(device.live(gate, watcher.expect)) for device in devices]
    tasks.append(asyncio.create_task(watcher.watch()))
    try:
        await _until_connected(server, devices, tasks)
        # Handshakes and their first samples are over before the clock starts.
        await asyncio.sleep(2 * TELEMETRY_SECONDS)
        before = usage(processes)
        frames = watcher.frames
        turning = asyncio.create_task(_turn(devices, seconds))
        await asyncio.sleep(seconds)
        after = usage(processes)
        await turning
        await asyncio.sleep(2.0)
        return Result(
            len(devices),
            seconds,
            {role: (after.cpu[role] - before.cpu[role]) / seconds * 100 for role in ROLES},
            after.memory,
            watcher.delays,
            watcher.missing,
            watcher.frames - frames,
            sum(bool(device.lost) for device in devices),
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_connected(server: Server, devices: list[Device], tasks: list[asyncio.Task[None]]) -> None:
    deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
    while True:
        await asyncio.sleep(1.0)
        for device, task in zip(devices, tasks, strict=False):
            if task.done():
                task.result()
                raise Failed(f"the server hung up on a device: {device.lost}")
        found = await asyncio.to_thread(server.presences)
        if found.get("idle") == len(devices):
            return
        if asyncio.get_running_loop().time() > deadline:
            raise Failed(f"after {CONNECT_SECONDS:.0f} s the devices are {found}")


async def _turn(devices: list[Device], seconds: float) -> None:
    """Each device changes its mind a few times, at moments of its own, not within the last seconds."""
    passed = 0.0
    for at, device in _moments(devices, seconds):
        await asyncio.sleep(at - passed)
        passed = at
        device.turn()


def _moments(devices: list[Device], seconds: float) -> list[tuple[float, Device]]:
    each = max(1, round(seconds / TURN_SECONDS))
    drawn = [(random.uniform(0, seconds - 2.0), device) for device in devices for _ in range(each)]
    return sorted(drawn, key=lambda moment: moment[0])


def usage(processes: Processes) -> Usage:
    """CPU seconds and proportional memory by role, now."""
    cpu = dict.fromkeys(ROLES, 0.0)
    memory = dict.fromkeys(ROLES, 0)
    for role in ROLES:
        for process in processes.tree(role):
            try:
                times = process.cpu_times()
                cpu[role] += times.user + times.system
                memory[role] += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
    return Usage(cpu, memory)


def line(result: Result) -> str:
    cells = [str(result.devices)]
    cells += [f"{result.cpu[role]:.1f}" for role in ROLES]
    cells += [f"{result.memory[role] / 1e6:.0f}" for role in ("web", "worker", "redis")]
    delays = sorted(result.delays)
    cells += [f"{statistics.median(delays) * 1000:.0f}", f"{delays[int(0.95 * len(delays))] * 1000:.0f}"]
    cells += [f"{len(delays)} of {len(delays) + result.missing}", str(result.lost)]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| devices | redis CPU % | web CPU % | worker CPU % | beat CPU % | web MB | worker MB | redis MB "
    "| p50 ms | p95 ms | changes seen | sockets lost |"
)


def main() -> None:
    options = _options()
    # Ending by an exception, it ends all that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; {options.seconds:.0f} s\n\n{HEAD}\n|{'---|' * (HEAD.count('|') - 1)}", flush=True)
    print(line(measure(options.devices, options.seconds)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0, help="at least 10")
    parser.add_argument("--quick", action="store_true", help="50 devices for 15 s")
    options = parser.parse_args()
    if options.quick:
        options.devices, options.seconds = 50, 15.0
    if options.seconds < 10:
        parser.error(f"--seconds is {options.seconds}; it must be at least 10")
    return options


if __name__ == "__main__":
    main()
