"""Pinning, comparing, and downloads of what is stored in another way."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from fl_server.models import AuditEvent, Checkpoint
from fl_server.services import retention
from strategies.document import pack, unpack
from tests.server.test_retention import LATER, at, job_with, stored, weights
from tests.server.world import World, client, person

pytestmark = pytest.mark.services


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.CHECKPOINTS_DIR = tmp_path
    return tmp_path


def address(checkpoint: Checkpoint, *parts: Any) -> str:
    return "/".join(map(str, ["/api/v1/checkpoints", checkpoint.pk, *parts]))


def downloaded(by: Any, checkpoint: Checkpoint) -> Any:
    response = client(by).get(address(checkpoint, "download"))
    assert response.status_code == 200, response.json()
    return response, b"".join(response.streaming_content)


def test_the_owner_and_an_admin_pin_and_unpin(world: World) -> None:
    for by in (world.researcher, world.admin):
        assert client(by).post(address(world.checkpoint, "pin")).json()["pinned"] is True
        assert client(by).post(address(world.checkpoint, "unpin")).json()["pinned"] is False
    events = AuditEvent.objects.filter(target=f"job:{world.running.pk}").order_by("pk")
    assert [(e.actor, e.action) for e in events] == [
        (by, f"checkpoint.{what}") for by in (world.researcher, world.admin) for what in ("pin", "unpin")
    ]


def test_pinning_twice_is_noted_once(world: World) -> None:
    for _ in range(2):
        assert client(world.admin).post(address(world.checkpoint, "pin")).status_code == 200
    assert AuditEvent.objects.filter(action="checkpoint.pin").count() == 1


def test_another_researcher_pins_nothing(world: World) -> None:
    other = person("rene", "researcher")
    response = client(other).post(address(world.checkpoint, "pin"))
    assert response.json()["error"]["code"] == "not-allowed"
    world.checkpoint.refresh_from_db()
    assert not world.checkpoint.pinned


def test_what_was_removed_is_said_to_be_removed(world: World) -> None:
    Checkpoint.objects.filter(pk=world.checkpoint.pk).update(removed_at=LATER)
    vera = client(world.viewer)
    assert vera.get(address(world.checkpoint)).json()["removed_at"]
    response = vera.get(address(world.checkpoint, "download"))
    assert (response.status_code, response.json()["error"]["code"]) == (404, "checkpoint-removed")
    refused = client(world.researcher).post(address(world.checkpoint, "pin"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "checkpoint-removed")


def test_a_delta_is_downloaded_as_the_whole_file(world: World, folder: Path) -> None:
    run = job_with(3, storage="delta")
    retention.sweep(now=LATER)
    row = at(run, 1)
    assert client(world.viewer).get(address(row)).json()["storage"] == "delta"
    response, data = downloaded(world.viewer, row)
    assert data == pack(weights(1))
    assert response["Content-Length"] == str(len(data)) == str(row.size)
    assert response["ETag"] == f'"{row.sha256}"'
    assert response["Content-Disposition"].endswith('round-000001.safetensors"')


def test_a_float16_file_says_so_in_its_name_and_in_the_api(world: World, folder: Path) -> None:
    run = job_with(3, storage="float16")
    before = at(run, 1)
    retention.sweep(now=LATER)
    shown = client(world.viewer).get(address(before)).json()
    assert (shown["storage"], shown["size"] < before.size) == ("float16", True)
    assert shown["bytes_saved"] > 0.4 * before.size
    response, data = downloaded(world.viewer, before)
    assert response["Content-Disposition"].endswith('round-000001-float16.safetensors"')
    assert response["ETag"] == f'"{shown["sha256"]}"' != f'"{before.sha256}"'
    assert str(unpack(data)["layer.weight"].dtype) == "float16"


def test_a_delta_whose_base_is_damaged_is_not_handed_out(world: World, folder: Path) -> None:
    run = job_with(3, storage="delta")
    retention.sweep(now=LATER)
    base = folder / at(run, 0).path
    base.write_bytes(bytes(base.stat().st_size))
    response = client(world.viewer).get(address(at(run, 1), "download"))
    assert (response.status_code, response.json()["error"]["code"]) == (409, "checkpoint-damaged")
    assert str(folder) not in response.json()["error"]["message"]


def compared(by: Any, first: Checkpoint, second: Checkpoint) -> Any:
    return client(by).get(address(first, "compare", second.pk))


def test_two_checkpoints_are_compared_by_metrics_and_parameters(world: World, folder: Path) -> None:
    run = job_with(3)
    first, second = at(run, 0), at(run, 2)
    Checkpoint.objects.filter(pk=first.pk).update(metrics={"accuracy": 0.5})
    Checkpoint.objects.filter(pk=second.pk).update(metrics={"accuracy": 0.75, "loss": 0.2})
    found = compared(world.viewer, first, second).json()
    assert (found["first"]["round"], found["second"]["round"]) == (0, 2)
    assert found["metrics"] == [
        {"name": "accuracy", "first": 0.5, "second": 0.75, "difference": 0.25},
        {"name": "loss", "first": None, "second": 0.2, "difference": None},
    ]
    distance = found["distance"]
    assert distance["parameters"] == 20_000
    assert distance["l2"] == pytest.approx(0.002 * 20_000**0.5, rel=0.02)
    assert distance["relative"] == pytest.approx(0.002, rel=0.02)
    assert distance["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert [tensor["name"] for tensor in distance["tensors"]] == ["layer.weight"]


@pytest.mark.parametrize("storage", ["delta", "float16"])
def test_what_is_stored_in_another_way_is_compared_all_the_same(
    world: World, folder: Path, storage: str
) -> None:
    run = job_with(4, storage=storage)
    before = compared(world.viewer, at(run, 1), at(run, 3)).json()["distance"]
    retention.sweep(now=LATER)
    after = compared(world.viewer, at(run, 1), at(run, 3)).json()["distance"]
    assert after["l2"] == pytest.approx(before["l2"], rel=1e-12 if storage == "delta" else 0.05)


def test_different_models_have_no_distance(world: World, folder: Path) -> None:
    run = job_with(2)
    other = stored(run, 2)
    data = pack({"another.weight": weights(1)["layer.weight"]})
    (folder / other.path).write_bytes(data)
    response = compared(world.viewer, at(run, 1), other)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "layouts-differ")
    assert "only one of the two has a tensor 'another.weight'" in response.json()["error"]["message"]


def test_a_file_that_is_no_model_is_not_compared(world: World) -> None:
    response = compared(world.viewer, world.checkpoint, world.checkpoint)
    assert response.json()["error"]["code"] == "checkpoint-damaged"
    assert str(settings.CHECKPOINTS_DIR) not in response.json()["error"]["message"]


@pytest.mark.parametrize("who", ["outsider", "owner"])
def test_who_may_not_read_does_not_compare(world: World, folder: Path, who: str) -> None:
    run = job_with(2)
    assert compared(world.people[who], at(run, 0), at(run, 1)).status_code == 404
    assert compared(world.viewer, at(run, 0), at(run, 1)).status_code == 200
