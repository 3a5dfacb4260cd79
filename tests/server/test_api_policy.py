from typing import Any

import pytest

from fl_server.models import Policy
from fl_server.rules import COMPANY_DEFAULTS, Rules, stored
from tests.server.world import World, client

pytestmark = pytest.mark.services

POLICY = "/api/v1/policy"
LAB = f"{POLICY}/groups/room/lab"


def put(by: Any, address: str, rules: Any) -> Any:
    return client(by).put(address, rules, format="json")


def test_the_policy_shows_the_defaults_until_an_admin_sets_one(world: World) -> None:
    shown = client(world.viewer).get(POLICY).json()
    assert shown["company"]["rules"] == stored(COMPANY_DEFAULTS)
    assert shown["company"]["is_default"] is True
    assert shown["groups"] == []
    shown = put(world.admin, POLICY, {"gpu": "never"}).json()
    assert (shown["company"]["is_default"], shown["company"]["updated_by"]) == (False, "ada")
    assert shown["company"]["sentence"] == "Trains whenever there is work; never the GPU."


def test_an_empty_object_is_a_policy_without_restrictions(world: World) -> None:
    assert put(world.admin, POLICY, {}).json()["company"]["rules"] == {}
    assert Policy.objects.get().rules == {}


def test_an_admin_sets_and_removes_the_rules_of_a_group(world: World) -> None:
    groups = put(world.admin, LAB, {"gpu": "never"}).json()["groups"]
    assert [(row["label_name"], row["label_value"], row["rules"]) for row in groups] == [
        ("room", "lab", {"gpu": "never"})
    ]
    removed = client(world.admin).delete(LAB)
    assert (removed.status_code, removed.content) == (204, b"")
    assert client(world.admin).delete(LAB).json()["error"]["code"] == "not-found"


def test_a_label_may_have_a_slash_in_its_value(world: World) -> None:
    put(world.admin, f"{POLICY}/groups/path/a/b", {})
    assert Policy.objects.get().label_value == "a/b"


def test_faults_are_listed_and_nothing_is_kept(world: World) -> None:
    response = put(world.admin, POLICY, {"idle_minutes": 500, "gpu": "sometimes"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (400, "invalid-input", "idle_minutes")
    assert [fault["field"] for fault in error["errors"]] == ["idle_minutes", "gpu"]
    assert put(world.admin, f"{POLICY}/groups/a=b/c", {}).json()["error"]["field"] == "label_name"
    assert not Policy.objects.exists()


def test_the_schema_of_the_rules_names_every_rule(world: World) -> None:
    schema = client(world.owner).get(f"{POLICY}/schema").json()
    assert set(schema["properties"]) == set(Rules.model_fields)


def test_a_device_s_policy_is_one_sentence_and_the_layers_behind_it(world: World) -> None:
    put(world.admin, LAB, {"gpu": "never"})
    shown = client(world.owner).get(f"/api/v1/devices/{world.training.pk}/policy").json()
    assert shown["effective"]["sentence"].endswith("never the GPU.")
    assert shown["group"] == {
        "rules": {"gpu": "never"},
        "sentence": "Trains whenever there is work; never the GPU.",
        "labels": ["room=lab"],
    }
    assert shown["owner"]["rules"] == {}
    assert shown["loosened"] == []


def test_an_admin_labels_a_device(world: World) -> None:
    address = f"/api/v1/devices/{world.training.pk}"
    answer = client(world.admin).patch(address, {"labels": {"floor": "2"}}, format="json")
    assert answer.json()["labels"] == {"floor": "2"}
    refused = client(world.admin).patch(address, {"labels": {"a=b": "2"}}, format="json")
    assert refused.json()["error"]["field"] == "label_name"
    assert client(world.admin).patch(address, {"name": "x"}, format="json").status_code == 400
