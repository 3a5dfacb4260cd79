"""The floor: the same training in one plain process, node after node. python -m bench.floor FOLDER"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from bench import plain, workload


def main() -> None:
    folder = Path(sys.argv[1])
    job = workload.read(folder)
    initial = workload.arrays(folder / "initial.npz")
    module = plain.build(job.workload.model, initial)
    parts = [plain.rows(folder, f"part-{index}") for index in range(job.nodes)]
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    total = sum(len(labels) for _, labels in parts)
    starts = []
    for number in range(1, job.rounds + 1):
        starts.append(time.time())
        mean = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        for index, (images, labels) in enumerate(parts):
            module.load_state_dict(weights)
            plain.train(module, images, labels, number, index)
            for name, tensor in module.state_dict().items():
                mean[name].add_(tensor, alpha=len(labels) / total)
        weights = mean
    end = time.time()
    final = dict(zip(initial, (tensor.numpy() for tensor in weights.values()), strict=True))
    np.savez(folder / "final.npz", **final)
    (folder / "result.json").write_text(json.dumps({"starts": starts, "end": end}))


if __name__ == "__main__":
    main()
