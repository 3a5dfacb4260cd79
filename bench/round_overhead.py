"""What a round costs beside its training: a plain loop, stock Flower and Constellation on the same job.

    python -m bench.round_overhead [--systems floor,stock,constellation] [--models 2nn,cnn,1.66m,11.2m]
                                   [--nodes 2,4] [--rounds 5] [--weigh] [--quick]

bench/README.md says what is measured and how.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import plain_run, platform_run, stock_run, table, workload
from bench.processes import Failed
from bench.result import Result
from bench.workload import WORKLOADS, Job

SYSTEMS = {"floor": plain_run.run, "stock": stock_run.run, "constellation": platform_run.run}
WEIGHED_ROUNDS = 3


def measure(system: str, job: Job, weigh: bool) -> Result:
    """Timed in one run; where asked, a second one counts bytes and memory, which disturbs the clock."""
    result = _once(system, job, weigh=False)
    if weigh:
        lighter = Job(job.workload, job.corpus, job.nodes, WEIGHED_ROUNDS)
        result.add_weights(_once(system, lighter, weigh=True))
    return result


def _once(system: str, job: Job, *, weigh: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name) / "job"
        workload.write(folder, job)
        return SYSTEMS[system](folder, job, weigh=weigh)


def main() -> None:
    options = _options()
    # Ending by an exception, it ends all that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    corpus = workload.corpus()
    results: list[Result] = []
    began = time.monotonic()
    for model in options.models:
        for nodes in options.nodes:
            for system in options.systems:
                job = Job(WORKLOADS[model], corpus, nodes, options.rounds)
                print(f"{time.monotonic() - began:6.0f} s  {model}, {nodes} nodes, {system}", flush=True)
                try:
                    results.append(measure(system, job, options.weigh))
                except Failed as exc:
                    print(f"          failed: {exc}", flush=True)
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{machine}; {corpus.label}; {options.rounds} rounds\n")
    print("\n".join([*table.lines(results), "", *table.waits(results)]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", type=_some_of(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--models", type=_some_of(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--nodes", type=lambda text: [int(part) for part in text.split(",")], default=[2, 4])
    parser.add_argument(
        "--rounds", type=int, default=5, help="at least 3; the first and the last are not counted"
    )
    parser.add_argument("--weigh", action="store_true", help="a second run of each for memory and bytes")
    parser.add_argument("--quick", action="store_true", help="2NN on two nodes")
    options = parser.parse_args()
    if options.rounds < WEIGHED_ROUNDS:
        parser.error(f"--rounds is {options.rounds}; it must be at least {WEIGHED_ROUNDS}")
    if options.quick:
        options.models, options.nodes = ["2nn"], [2]
    return options


def _some_of(table_of: dict[str, object]):
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in table_of]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(table_of)}")
        return names

    return parse


if __name__ == "__main__":
    main()
