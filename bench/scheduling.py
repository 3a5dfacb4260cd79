"""How long the scheduler takes to place a job, by the size of the fleet, and what an idle tick costs.

    python -m bench.scheduling [--sizes 100 1000 5000] [--quick]

bench/README.md says what is measured and how.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.processes import ROOT, Failed, Processes, environment
from bench.scheduling_database import POSTGRES, answers, databases

SIZES = (100, 500, 1_000, 5_000, 10_000, 50_000)
QUICK = (100, 5_000)
REPEATS = 7
COLUMNS = (
    ("facts", "read facts"),
    ("match", "match"),
    ("weigh", "read habits"),
    ("choose", "choose"),
    ("place", "**place a job**"),
    ("fastest", "the fastest"),
    ("wait", "a job that waits"),
    ("tick", "tick, nothing to do"),
)


def measure(name: str, url: str, sizes: list[int]) -> list[dict[str, float]]:
    """One fresh process for each database, beside a Redis of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        variables = environment(
            CONSTELLATION_HOME=str(home),
            DJANGO_SETTINGS_MODULE="constellation_web.settings",
            **({"DATABASE_URL": url} if url else {}),
        )
        with Processes(Path(folder)) as processes:
            _run([sys.executable, "manage.py", "setup"], variables)
            processes.start("redis", "redis", [sys.executable, "manage.py", "redis"], variables)
            processes.wait_until((home / "redis" / "redis.sock").exists, 60, "The start of Redis")
            command = [sys.executable, "-m", "bench.scheduling_fleet", *map(str, sizes)]
            rows: list[dict[str, float]] = json.loads(_run(command, variables).splitlines()[-1])
    for row in rows:
        print(line(name, row), flush=True)
    return rows


def line(name: str, row: dict[str, float]) -> str:
    cells = (f"{row[key]:.1f}" for key, _ in COLUMNS)
    return f"| {name} | {row['devices']:,.0f} | {' | '.join(cells)} | {row['queries']:.0f} |"


def _run(command: list[str], variables: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise Failed(f"{command[1:]} ended with status {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", metavar="DEVICES")
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK[0]} and {QUICK[1]:,} devices")
    parser.add_argument("--postgres", default=os.environ.get("BENCH_POSTGRES", POSTGRES), help="its address")
    options = parser.parse_args()
    sizes = sorted(options.sizes or (QUICK if options.quick else SIZES))
    print(f"Milliseconds, median of {REPEATS}.\n")
    print(f"| database | devices | {' | '.join(title for _, title in COLUMNS)} | queries of a placement |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    for name, url in databases(options.postgres):
        with url as address:
            measure(name, address, sizes)
    if not answers(options.postgres):
        print(f"\nNo PostgreSQL answers at {options.postgres}: only SQLite was measured.")


if __name__ == "__main__":
    try:
        main()
    except Failed as exc:
        sys.exit(str(exc))
