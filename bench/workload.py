"""The job that every system is given: models, data, rows of each node, and the files that carry them."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SEED = 42
BATCH = 10
LEARNING_RATE = 0.1
NUDGE = 0.001


@dataclass(frozen=True)
class Workload:
    name: str
    label: str
    model: str
    options: dict[str, int]

    @property
    def learns(self) -> bool:
        return self.model != "payload"


@dataclass(frozen=True)
class Corpus:
    """Where the images come from and into how many partitions they are cut."""

    dataset: str
    source: str
    partitions: int
    label: str


@dataclass(frozen=True)
class Job:
    workload: Workload
    corpus: Corpus
    nodes: int
    rounds: int


WORKLOADS = {
    "2nn": Workload("2nn", "2NN, 199,210", "2nn", {}),
    "cnn": Workload("cnn", "CNN, 1,663,370", "cnn", {}),
    "1.66m": Workload("1.66m", "transport, 1.66 M in 8", "payload", {"parameters": 1_663_370, "tensors": 8}),
    "11.2m": Workload(
        "11.2m", "transport, 11.2 M in 62", "payload", {"parameters": 11_181_642, "tensors": 62}
    ),
}
MNIST = Corpus("mnist", "folder", 100, "MNIST, 600 images a node")
SAMPLE = Corpus("fashion-mnist", "sample", 13, "the Fashion-MNIST sample, 615 images a node")


def corpus() -> Corpus:
    """MNIST where CONSTELLATION_DATA has it, else the sample that comes with the client."""
    folder = os.environ.get("CONSTELLATION_DATA")
    return MNIST if folder and (Path(folder) / MNIST.dataset).is_dir() else SAMPLE


def write(folder: Path, job: Job) -> None:
    """The job, first weights, each node's rows and the test rows, as a client would deal and order them."""
    from fl_client import data, models, partitions
    from fl_client.draws import Purpose, generator

    workload, source = job.workload, {"source": job.corpus.source}
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    np.savez(folder / "initial.npz", **models.initial_weights(workload.model, workload.options, SEED))
    train = data.load(job.corpus.dataset, source, "train")
    labels = train.labels.numpy()
    for index in range(job.nodes):
        dealt = partitions.indices("iid", {}, labels, job.corpus.partitions, index, SEED)
        rows = generator(SEED, Purpose.HOLDOUT, index).permutation(dealt)
        np.savez(folder / f"part-{index}.npz", images=train.inputs(rows).numpy(), labels=labels[rows])
    test = data.load(job.corpus.dataset, source, "test")
    np.savez(folder / "test.npz", images=test.inputs().numpy(), labels=test.labels.numpy())


def read(folder: Path) -> Job:
    document: dict[str, Any] = json.loads((folder / "job.json").read_text())
    return Job(
        Workload(**document["workload"]), Corpus(**document["corpus"]), document["nodes"], document["rounds"]
    )


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)
