"""Running a stock Flower deployment: flower-superlink, flower-supernodes and the app in stock_flower/."""

import json
import subprocess
import time
from pathlib import Path

from bench import workload
from bench.processes import BIN, ROOT, Failed, Processes, environment, free_ports, is_open
from bench.relay import Relay
from bench.result import SERVER, Result, judge
from bench.workload import Job

APP = ROOT / "bench" / "stock_flower"
START_SECONDS = 60.0
# From an open port to a node that the SuperLink knows; Flower has no cheaper way to ask.
SETTLE_SECONDS = 3.0
ROUND_SECONDS = 60.0


def run(folder: Path, job: Job, *, weigh: bool) -> Result:
    port, fleet_port, *node_ports = free_ports(2 + job.nodes)
    home = folder / "flower"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    variables = environment(FLWR_HOME=str(home), PYTHONPATH=str(ROOT))
    relay = Relay(fleet_port, port) if weigh else None
    try:
        with Processes(folder, weigh=weigh) as processes:
            _start(processes, variables, port, fleet_port if weigh else port, node_ports)
            submitted = time.time()
            _submit(variables, folder)
            done = folder / "result.json"
            processes.wait_until(done.exists, ROUND_SECONDS * (job.rounds + 1), "Stock Flower's job")
            processes.sampler.sample()
    finally:
        if relay:
            relay.close()
    found = json.loads(done.read_text())
    result = Result("stock Flower", job, found["starts"], found["end"], submitted)
    result.measure(processes.sampler, relay)
    result.accuracy = judge(folder, job, workload.arrays(folder / "final.npz"))
    return result


def _start(
    processes: Processes, variables: dict[str, str], port: int, fleet_port: int, node_ports: list[int]
) -> None:
    command = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
    command[0] = str(BIN / command[0])
    command.append("--disable-runtime-dependency-installation")
    processes.start("superlink", SERVER, command, variables)
    processes.wait_until(lambda: is_open(port), START_SECONDS, "The SuperLink's start")
    for index, node_port in enumerate(node_ports):
        command = [
            *(str(BIN / "flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{fleet_port}"),
            *("--host", "127.0.0.1", "--port", str(node_port)),
            *("--node-config", f"partition-id={index}"),
        ]
        processes.start(f"node-{index}", f"client-{index}", command, variables)
    for node_port in node_ports:
        processes.wait_until(lambda port=node_port: is_open(port), START_SECONDS, "A SuperNode's start")
    time.sleep(SETTLE_SECONDS)


def _submit(variables: dict[str, str], folder: Path) -> None:
    command = [str(BIN / "flwr"), "run", str(APP), "bench", "-c", f'folder="{folder}"']
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Failed(f"flwr run ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
