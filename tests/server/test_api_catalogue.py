from typing import Any, get_args

import pytest

from fl_server import spec
from fl_server.api import catalogue
from tests.server.world import SPEC, World, client

pytestmark = pytest.mark.services


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("strategies", "fedavg fedprox fedavgm fedadam fedyogi fedadagrad"),
        ("models", "lenet 2nn cnn payload"),
        ("datasets", "fashion-mnist mnist"),
        ("partitions", "iid dirichlet shards"),
        ("optimizers", "sgd adam adamw nudge"),
    ],
)
def test_each_catalogue_names_its_entries_with_a_schema_of_their_options(
    world: World, kind: str, expected: str
) -> None:
    entries: list[dict[str, Any]] = client(world.viewer).get(f"/api/v1/{kind}").json()
    assert [entry["name"] for entry in entries] == expected.split()
    for entry in entries:
        assert entry["label"]
        assert entry["summary"]
        assert entry["options"]["type"] == "object"


def test_every_strategy_of_the_catalogue_may_be_named_in_a_specification(world: World) -> None:
    entries = client(world.viewer).get("/api/v1/strategies").json()
    assert len(entries) == 6
    for entry in entries:
        assert spec.parse(SPEC | {"strategy": {"name": entry["name"]}}).strategy.name == entry["name"]


def test_the_optimizers_are_those_that_a_specification_allows() -> None:
    assert set(catalogue.OPTIMIZERS) == set(get_args(spec.Training.model_fields["optimizer"].annotation))
