from typing import Any


def assignment(**changes: Any) -> dict[str, Any]:
    """A small job on the sample, as the server would send it; changes go one level deep."""
    document: dict[str, Any] = {
        "run": 12,
        "fence": 7,
        "job": 3,
        "job_name": "clothes",
        "researcher": "Ada",
        "rounds": 5,
        "model": {"name": "2nn", "options": {}},
        "dataset": {"name": "fashion-mnist", "options": {"source": "sample"}},
        "partition": {"scheme": "iid", "options": {}, "index": 0, "count": 20},
        "training": {"epochs": 1, "batch_size": 20, "optimizer": "sgd", "learning_rate": 0.05},
        "seed": 42,
    }
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    return document
