import json
import os
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from bench import plain, workload

app = ServerApp()


class Clocked(FedAvg):
    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.starts: list[float] = []

    def configure_train(self, *arguments):
        self.starts.append(time.time())
        return super().configure_train(*arguments)


@app.main()
def main(grid: Grid, context: Context) -> None:
    folder = Path(str(context.run_config["folder"]))
    job = workload.read(folder)
    initial = workload.arrays(folder / "initial.npz")
    module = plain.build(job.workload.model, initial)
    strategy = Clocked(
        fraction_evaluate=0.0, min_train_nodes=job.nodes, min_evaluate_nodes=0, min_available_nodes=job.nodes
    )
    result = strategy.start(grid=grid, initial_arrays=ArrayRecord(module.state_dict()), num_rounds=job.rounds)
    end = time.time()
    final = [array.numpy() for array in result.arrays.values()]
    np.savez(folder / "final.npz", **dict(zip(initial, final, strict=True)))
    draft = folder / "result.new"
    draft.write_text(json.dumps({"starts": strategy.starts, "end": end}))
    os.replace(draft, folder / "result.json")
