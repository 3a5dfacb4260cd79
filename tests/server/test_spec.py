import json
from typing import Any

import pytest

from fl_server import spec
from fl_server.exceptions import InvalidSpec
from tests.server.world import SPEC


def faults(**changes: Any) -> list[dict[str, Any]]:
    with pytest.raises(InvalidSpec) as caught:
        spec.parse({**SPEC, **changes})
    assert caught.value.errors
    return caught.value.errors


def test_a_short_specification_gets_every_default() -> None:
    parsed = spec.parse(SPEC)
    assert parsed.strategy == spec.Choice(name="fedavg", options={})
    assert parsed.dataset.options == {"source": "auto"}
    assert (parsed.participation.min_devices, parsed.participation.max_devices) == (1, 10)
    assert parsed.training.optimizer == "sgd"


def test_a_stored_specification_reads_back_the_same() -> None:
    parsed = spec.parse({**SPEC, "strategy": {"name": "fedprox"}, "partition": {"scheme": "dirichlet"}})
    stored = json.loads(json.dumps(parsed.model_dump(mode="json"), allow_nan=False))
    assert spec.parse(stored) == parsed
    assert stored["strategy"]["options"] == {"mu": 0.01}
    assert stored["partition"]["options"]["alpha"] == 0.5


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"model": {"name": "gpt"}}, "model", "2nn, cnn, lenet, payload"),
        ({"dataset": {"name": "imagenet"}}, "dataset", "fashion-mnist"),
        ({"partition": {"scheme": "by-hand"}}, "partition", "dirichlet, iid, shards"),
        ({"strategy": {"name": "krum"}}, "strategy", "fedavg"),
        ({"strategy": {"name": "fedprox", "options": {"mu": -1}}}, "strategy.mu", "greater"),
        ({"strategy": {"name": "fedavg", "options": {"mu": 1}}}, "strategy.mu", "not permitted"),
        ({"model": {"name": "payload", "options": {"parameters": 0}}}, "model", "parameters"),
        ({"partition": {"scheme": "dirichlet", "options": {"alpha": 0}}}, "partition", "alpha"),
        ({"rounds": 0}, "rounds", "greater"),
        ({"rounds": "many"}, "rounds", "integer"),
        ({"training": {"learning_rate": 0}}, "training.learning_rate", "greater"),
        ({"training": {"optimizer": "magic"}}, "training.optimizer", "'sgd'"),
        ({"participation": {"min_devices": 5, "max_devices": 2}}, "participation", "at least min_devices, 5"),
        ({"participation": {"min_devices": 2, "quorum": 3}}, "participation", "at most min_devices, 2"),
        ({"partition": {"count": 4}}, "spec", "at least participation.max_devices, 10"),
        ({"metric": {"name": "accuracy"}}, "metric.direction", "required"),
        ({"metric": {"name": "f1", "direction": "maximize"}}, "metric.name", "'accuracy'"),
        ({"seed": 2**53}, "seed", "less"),
        ({"priority": 101}, "priority", "less"),
        ({"version": 2}, "version", "1"),
        ({"colour": "red"}, "colour", "not permitted"),
        ({"stopping": {"target": "nan"}}, "stopping.target", "finite"),
        ({"requirements": {"labels": {"a": "\ud800"}}}, "requirements.labels", "label_value"),
        ({"requirements": {"labels": {"": "b"}}}, "requirements.labels", "label_name"),
    ],
)
def test_a_fault_names_its_field_and_what_is_allowed(changes: Any, field: str, says: str) -> None:
    found = faults(**changes)
    assert [fault["field"] for fault in found] == [field]
    assert says in found[0]["message"]
    assert "\n" not in found[0]["message"]


def test_every_fault_is_told_at_once() -> None:
    found = faults(rounds=0, seed=-1, training={"epochs": 0, "holdout": 1})
    assert {fault["field"] for fault in found} == {"rounds", "seed", "training.epochs", "training.holdout"}


def test_a_missing_part_is_a_fault() -> None:
    with pytest.raises(InvalidSpec) as caught:
        spec.parse({})
    assert {fault["field"] for fault in caught.value.errors} == {"model", "dataset", "metric"}


@pytest.mark.parametrize("data", [None, [], "lenet", 3, {1: 2}])
def test_what_is_no_document_is_refused(data: Any) -> None:
    with pytest.raises(InvalidSpec):
        spec.parse(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("training", "learning_rate"),
        ("training", "weight_decay"),
        ("participation", "grace_seconds"),
        ("participation", "round_deadline_seconds"),
        ("requirements", "min_ram_gb"),
    ],
)
def test_what_is_not_finite_is_refused_and_the_fault_can_be_sent(part: str, field: str, value: float) -> None:
    found = faults(**{part: {field: value}})
    assert found[0]["field"] == f"{part}.{field}"
    json.dumps(found, allow_nan=False)


def test_the_value_in_a_fault_is_short() -> None:
    found = faults(metric={"name": "x" * 10_000, "direction": ["y"] * 10_000})
    assert len(found) == 2
    assert all(len(fault["value"]) <= 200 for fault in found)


def test_a_number_of_any_size_can_be_sent_back() -> None:
    assert faults(rounds=10**400)[0]["value"] == 10**400


def test_a_specification_cannot_be_changed() -> None:
    parsed = spec.parse(SPEC)
    with pytest.raises(ValueError, match="frozen"):
        parsed.rounds = 7  # type: ignore[misc]
