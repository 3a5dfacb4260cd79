"""Seconds and peak memory of one round's aggregation, ours against Flower's aggregate_arrayrecords.

    python bench/aggregation.py [--quick]

Every cell runs in fresh processes, two rounds each: in the first the system still has to hand over memory.
Ours gets one reply at a time, as a packed document, and its time holds reading, checking and folding each one
and the final mean. Flower needs all replies in a list and checks nothing; its time holds the call. Making the
replies is in neither time. Peak is the process's high-water mark above what it held before the first reply.
Seconds are CPU seconds: both sides are single-threaded, and a busy machine does not blur them as much. The
number in brackets is ours divided by Flower's; "checks" is the part of ours, in a later round, that reading
and checking take, work that Flower leaves undone.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CNN = {
    "conv1.weight": (32, 1, 5, 5),
    "conv1.bias": (32,),
    "conv2.weight": (64, 32, 5, 5),
    "conv2.bias": (64,),
    "dense1.weight": (512, 3136),
    "dense1.bias": (512,),
    "dense2.weight": (10, 512),
    "dense2.bias": (10,),
}
# 25 M in 160 tensors, about as ResNet-50 has them
WIDE = {f"layer-{number:02d}.weight": (624, 500) for number in range(80)} | {
    f"layer-{number:02d}.bias": (500,) for number in range(80)
}
MODELS = {"1.66 M": CNN, "25 M": WIDE}
CELLS = [("1.66 M", 10), ("1.66 M", 100), ("25 M", 10), ("25 M", 100)]
QUICK = [("1.66 M", 3), ("1.66 M", 10)]


def arrays_of(shapes, seed):
    import numpy as np

    draw = np.random.default_rng(seed)
    return {name: draw.random(shape, dtype=np.float32) - np.float32(0.5) for name, shape in shapes.items()}


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(shapes, clients):
    from strategies.aggregation import WeightedMean
    from strategies.document import pack, unpack
    from strategies.packing import Reply
    from strategies.validation import Validator

    validator = Validator(arrays_of(shapes, 0), run=1, round=1, fence=1)
    before = peak_bytes()
    mean = WeightedMean()
    rounds = []
    for _ in range(2):
        seconds = checking = 0.0
        mean.reset()
        for client in range(clients):
            document = pack(arrays_of(shapes, client))
            started = time.process_time()
            arrays = unpack(document)
            validator.check(Reply(1, 1, 1, 600 + client, {}, arrays, len(document)), 10_000)
            checking += time.process_time() - started
            mean.add(arrays, 600 + client)
            seconds += time.process_time() - started
            del arrays, document
        started = time.process_time()
        mean.mean()
        rounds.append(seconds + time.process_time() - started)
    return {"first": rounds[0], "later": rounds[1], "checking": checking, "peak": peak_bytes() - before}


def flowers(shapes, clients):
    from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
    from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

    arrays_of(shapes, 0)
    before = peak_bytes()
    replies = []
    for client in range(clients):
        record = ArrayRecord({name: Array(array) for name, array in arrays_of(shapes, client).items()})
        metrics = MetricRecord({"num-examples": 600 + client})
        replies.append(RecordDict({"arrays": record, "metrics": metrics}))
    rounds = []
    for _ in range(2):
        started = time.process_time()
        aggregate_arrayrecords(replies, "num-examples")
        rounds.append(time.process_time() - started)
    return {"first": rounds[0], "later": rounds[1], "peak": peak_bytes() - before}


SIDES = {"ours": ours, "flower": flowers}


def measure(side, model, clients, repeats):
    """The fastest of some fresh processes, with the largest peak."""
    command = [sys.executable, __file__, "--side", side, "--model", model, "--clients", str(clients)]
    runs = [json.loads(subprocess.check_output(command, text=True)) for _ in range(repeats)]
    fastest = {key: min(run[key] for run in runs) for key in runs[0]}
    return fastest | {"peak": max(run["peak"] for run in runs)}


def table(cells):
    print(
        "| numbers | clients | first round s | Flower | later round s | Flower | peak MB | Flower | checks |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for model, clients in cells:
        repeats = 1 if (model, clients) == CELLS[-1] else 3
        mine = measure("ours", model, clients, repeats)
        theirs = measure("flower", model, clients, repeats)
        row = [model, str(clients)]
        for key, unit in (("first", 1), ("later", 1), ("peak", 1e6)):
            ratio = mine[key] / theirs[key]
            digits = 0 if key == "peak" else 3
            row += [f"{mine[key] / unit:.{digits}f} (× {ratio:.2f})", f"{theirs[key] / unit:.{digits}f}"]
        print(f"| {' | '.join(row)} | {mine['checking']:.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes only, some seconds")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--clients", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(SIDES[options.side](MODELS[options.model], options.clients)))
    else:
        table(QUICK if options.quick else CELLS)


if __name__ == "__main__":
    main()
