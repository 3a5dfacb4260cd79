"""Running Constellation as people do: `manage.py up`, clients that enrol, a job through the REST API."""

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import safetensors.numpy

from bench.processes import ROOT, Failed, Processes, environment, free_ports
from bench.relay import Relay
from bench.result import SERVER, Result, judge
from bench.workload import BATCH, LEARNING_RATE, SEED, Job

START_SECONDS = 120.0
ROUND_SECONDS = 30.0
PASSWORD = "bench-only-on-loopback"
USER = "bench"
ENDED = ("completed", "failed", "cancelled")
PASSED_ON = ("CONSTELLATION_DATA",)
# The platform answers these questions beside its work, so they are few.
ASK_EVERY = 0.5


def run(folder: Path, job: Job, *, weigh: bool) -> Result:
    port, public_port, engine_port = free_ports(3)
    variables = environment(
        CONSTELLATION_HOME=str(folder / "home"),
        CONSTELLATION_BIND=f"127.0.0.1:{port}",
        CONSTELLATION_URL=f"http://127.0.0.1:{public_port if weigh else port}",
        CONSTELLATION_ENGINE_PORT=str(engine_port),
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
    )
    relay = Relay(public_port, port) if weigh else None
    try:
        with (
            Processes(folder, weigh=weigh) as processes,
            httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/", timeout=20.0) as http,
        ):
            _start(processes, variables, http)
            _enrol(processes, variables, http, folder, job.nodes)
            result = _train(processes, http, job)
            result.accuracy = judge(folder, job, _final(http))
    finally:
        if relay:
            relay.close()
    result.measure(processes.sampler, relay)
    return result


def _start(processes: Processes, variables: dict[str, str], http: httpx.Client) -> None:
    command = [sys.executable, "manage.py", "up"]
    processes.start("platform", SERVER, command, variables)
    processes.wait_until(lambda: _answers(http), START_SECONDS, "The platform's start")
    command = ["createsuperuser", "--noinput", "--username", USER, "--email", "bench@localhost"]
    _call([sys.executable, "manage.py", *command], variables)
    token = _post(http, "auth/token", {"username": USER, "password": PASSWORD})["access"]
    http.headers["Authorization"] = f"Bearer {token}"
    # The defaults would let no machine train that the benchmark keeps busy.
    http.put("policy", json={}).raise_for_status()


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("health").is_success
    except httpx.TransportError:
        return False


def _enrol(
    processes: Processes, variables: dict[str, str], http: httpx.Client, folder: Path, nodes: int
) -> None:
    body = {"label": "bench", "max_uses": nodes, "valid_hours": 1, "approves": True}
    code = _post(http, "enrolment/codes", body)["code"]
    for index in range(nodes):
        name = f"client-{index}"
        own = {
            **{
                key: value
                for key, value in variables.items()
                if not key.startswith(("CONSTELLATION", "DJANGO"))
            },
            **{key: os.environ[key] for key in PASSED_ON if key in os.environ},
            "CONSTELLATION_CLIENT_HOME": str(folder / name),
            "CONSTELLATION_THREADS": "1",
        }
        program = [sys.executable, "-m", "fl_client"]
        _call([*program, "enrol", code, "--name", name], own)
        processes.start(name, name, [*program, "run"], own)

    def idle() -> bool:
        rows = _get(http, "devices")["results"]
        return sum(row["presence"] == "idle" for row in rows) == nodes

    processes.wait_until(idle, START_SECONDS, "The devices' connection", every=ASK_EVERY)


def _train(processes: Processes, http: httpx.Client, job: Job) -> Result:
    submitted = time.time()
    number = _post(http, "jobs", {"name": f"bench {job.workload.name}", "spec": spec(job)})["id"]
    row: dict[str, Any] = {}

    def ended() -> bool:
        row.update(_get(http, f"jobs/{number}"))
        return row["status"] in ENDED

    processes.wait_until(
        ended, START_SECONDS + ROUND_SECONDS * job.rounds, "Constellation's job", every=ASK_EVERY
    )
    processes.sampler.sample()
    if row["status"] != "completed":
        raise Failed(f"the job is {row['status']}: {row['reason']}")
    rounds = sorted(_get(http, f"jobs/{number}/rounds")["results"], key=lambda each: each["number"])
    starts = [_moment(each["started_at"]) for each in rounds]
    return Result("Constellation", job, starts, _moment(row["finished_at"]), submitted)


def spec(job: Job) -> dict[str, Any]:
    return {
        "model": {"name": job.workload.model, "options": job.workload.options},
        "dataset": {"name": job.corpus.dataset, "options": {"source": job.corpus.source}},
        "partition": {"scheme": "iid", "count": job.corpus.partitions},
        "strategy": {"name": "fedavg"},
        "rounds": job.rounds,
        "training": {
            "epochs": 1,
            "batch_size": BATCH,
            "optimizer": "sgd" if job.workload.learns else "nudge",
            "learning_rate": LEARNING_RATE,
        },
        "participation": {"min_devices": job.nodes, "max_devices": job.nodes},
        "evaluation": "off",
        "metric": {"name": "accuracy", "direction": "maximize"},
        "seed": SEED,
    }


def _final(http: httpx.Client) -> dict[str, np.ndarray]:
    """The last checkpoint of the only job."""
    job = _get(http, "jobs")["results"][0]["id"]
    newest = max(_get(http, f"jobs/{job}/checkpoints")["results"], key=lambda each: each["round"])
    response = http.get(f"checkpoints/{newest['id']}/download")
    return safetensors.numpy.load(response.raise_for_status().content)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _get(http: httpx.Client, path: str) -> Any:
    return http.get(path).raise_for_status().json()


def _post(http: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    return http.post(path, json=body).raise_for_status().json()


def _call(command: list[str], variables: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise Failed(f"{' '.join(command[1:4])} ended with status {done.returncode}:\n{done.stderr}")
