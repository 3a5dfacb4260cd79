"""Running the floor as a process of its own."""

import json
import sys
from pathlib import Path

from bench import workload
from bench.processes import ROOT, Processes, environment
from bench.result import Result, judge
from bench.workload import Job

LIMIT = 300.0


def run(folder: Path, job: Job, *, weigh: bool) -> Result:
    done = folder / "result.json"
    with Processes(folder, weigh=weigh) as processes:
        command = [sys.executable, "-m", "bench.floor", str(folder)]
        processes.start("floor", "client", command, environment(PYTHONPATH=str(ROOT)))
        processes.wait_until(done.exists, LIMIT, "The floor")
        processes.sampler.sample()
    found = json.loads(done.read_text())
    result = Result("floor", job, found["starts"], found["end"])
    result.measure(processes.sampler, None)
    result.accuracy = judge(folder, job, workload.arrays(folder / "final.npz"))
    return result
