from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from fl_server.models import AuditEvent, Device, EnrolmentCode, TelemetryBucket
from tests.server.world import World, client, device, person

pytestmark = pytest.mark.services

DEVICES = "/api/v1/devices"
CODES = "/api/v1/enrolment/codes"


def names(by: Any, **query: Any) -> list[str]:
    response = client(by).get(DEVICES, query)
    assert response.status_code == 200
    return [row["name"] for row in response.json()["results"]]


def test_observers_see_the_fleet_and_an_owner_the_own_machines(world: World) -> None:
    assert names(world.viewer) == ["olga-desk", "otto-desk", "otto-home"]
    assert names(world.owner) == ["otto-desk", "otto-home"]
    assert client(world.owner).get(f"{DEVICES}/{world.foreign_device.pk}").status_code == 404


def test_no_key_of_a_device_leaves_the_server(world: World) -> None:
    shown = client(world.admin).get(f"{DEVICES}/{world.training.pk}").json()
    assert not {"identity_key", "node_key", "machine_hash", "certificate_serial"} & set(shown)
    assert world.training.identity_key not in str(shown)


def fleet(owner: Any) -> None:
    """Beside those of the world: one machine of each presence that it lacks."""
    now = timezone.now()
    device(owner, "idle", last_seen=now)
    device(owner, "paused", last_seen=now, may_train=False)
    device(owner, "stale", last_seen=now - timedelta(seconds=settings.STALE_AFTER + 60))
    device(owner, "left", last_seen=now - timedelta(seconds=1), disconnected_at=now)
    device(owner, "back", last_seen=now, disconnected_at=now - timedelta(seconds=1))
    device(owner, "revoked", Device.Status.REVOKED, last_seen=now)


@pytest.mark.parametrize("presence", Device.Presence.values)
def test_filtering_by_presence_agrees_with_what_each_device_shows(world: World, presence: str) -> None:
    fleet(world.owner)
    rows = client(world.viewer).get(DEVICES, {"status": Device.Status.values}).json()["results"]
    expected = [row["name"] for row in rows if row["presence"] == presence]
    assert expected
    assert names(world.viewer, presence=presence) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "pending"}, ["otto-home"]),
        ({"owner": "olga"}, ["olga-desk"]),
        ({"label": "room"}, ["otto-desk"]),
        ({"label": "room:lab"}, ["otto-desk"]),
        ({"label": "room:hall"}, []),
        ({"label": "room__gt:a"}, []),
        ({"label": "room') OR 1=1 --:x"}, []),
        ({"removed": "true"}, []),
        ({"removed": "false", "name": "olga"}, ["olga-desk"]),
        ({"name": "DESK", "ordering": "-name"}, ["otto-desk", "olga-desk"]),
    ],
)
def test_devices_are_filtered(world: World, query: dict[str, str], expected: list[str]) -> None:
    assert names(world.viewer, **query) == expected


def test_a_removed_device_leaves_the_list_and_keeps_its_page(world: World) -> None:
    gone = device(world.owner, "gone", Device.Status.REVOKED)
    assert "gone" not in names(world.viewer)
    assert names(world.viewer, removed="true") == names(world.viewer, status="revoked") == ["gone"]
    assert client(world.owner).get(f"{DEVICES}/{gone.pk}").json()["presence"] == "revoked"


@pytest.mark.parametrize(
    "query", [{"from": "yesterday"}, {"from": "2026-05-02T00:00:00Z", "to": "2026-05-01T00:00:00Z"}]
)
def test_a_time_that_makes_no_sense_is_refused(world: World, query: dict[str, str]) -> None:
    answer = client(world.viewer).get(f"{DEVICES}/{world.training.pk}/telemetry", query)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "from"


def test_the_telemetry_of_a_foreign_device_does_not_exist_for_an_owner(world: World) -> None:
    assert client(world.owner).get(f"{DEVICES}/{world.foreign_device.pk}/telemetry").status_code == 404


def test_telemetry_comes_with_its_resolution(world: World) -> None:
    now = timezone.now().replace(microsecond=0)
    numbers = {"means": {"cpu": 20.0}, "highest": {"cpu": 30.0}, "lowest": {"cpu": 10.0}}
    TelemetryBucket.objects.create(
        device=world.training, start=now - timedelta(hours=5), span=60, count=12, **numbers
    )
    query = {"from": (now - timedelta(hours=24)).isoformat()}
    shown = client(world.viewer).get(f"{DEVICES}/{world.training.pk}/telemetry", query).json()
    assert (shown["resolution"], len(shown["times"])) == ("minutes", 1)
    assert shown["numbers"] == {"cpu": {"mean": [20.0], "highest": [30.0], "lowest": [10.0]}}


def test_a_label_of_many_words_is_found_with_its_colon(world: World) -> None:
    Device.objects.filter(pk=world.training.pk).update(labels={"path": "a:b"})
    assert names(world.viewer, label="path:a:b") == ["otto-desk"]


def test_an_admin_approves_a_device_once(world: World) -> None:
    address, ada = f"{DEVICES}/{world.pending.pk}", client(world.admin)
    approved = ada.post(f"{address}/approve")
    assert approved.json()["status"] == "approved"
    assert ada.post(f"{address}/approve").status_code == 409
    assert AuditEvent.objects.filter(action="device.approve").count() == 1


def test_an_owner_revokes_the_own_machine_and_cannot_bring_it_back(world: World) -> None:
    address, otto = f"{DEVICES}/{world.training.pk}", client(world.owner)
    assert otto.post(f"{address}/revoke", {"reason": "sold"}, format="json").json()["presence"] == "revoked"
    assert otto.post(f"{address}/revoke", {}, format="json").status_code == 409
    assert client(world.admin).post(f"{address}/approve").status_code == 409
    assert AuditEvent.objects.get(action="device.revoke").data["reason"] == "sold"
    assert not world.training.reservations.filter(released_at__isnull=True).exists()


def test_an_owner_cannot_touch_the_machine_of_another(world: World) -> None:
    assert client(world.owner).post(f"{DEVICES}/{world.foreign_device.pk}/revoke").status_code == 404
    world.foreign_device.refresh_from_db()
    assert world.foreign_device.status == Device.Status.APPROVED


def issue(by: Any, **values: Any) -> Any:
    return client(by).post(CODES, {"label": "New"} | values, format="json")


def test_a_new_code_is_shown_once(world: World) -> None:
    response = issue(world.admin, max_uses=3, approves=True, owner="otto", labels={"room": "lab"})
    made = response.json()
    assert response.status_code == 201
    assert made["code"].startswith("C1-")
    assert response["Cache-Control"] == "no-store"
    assert (made["owner"], made["created_by"], made["approves"], made["max_uses"]) == ("otto", "ada", True, 3)
    listed = client(world.admin).get(CODES)
    assert {row["id"] for row in listed.json()["results"]} == {world.code.pk, made["id"]}
    assert made["code"] not in listed.content.decode()
    assert "secret" not in listed.content.decode()


def test_an_owner_makes_small_codes_for_the_own_machines_only(world: World) -> None:
    assert issue(world.owner, max_uses=5).status_code == 201
    assert issue(world.owner, max_uses=6).status_code == 403
    assert issue(world.owner, approves=True).status_code == 403
    assert issue(world.owner, owner="olga").status_code == 403


def test_an_owner_cannot_find_out_which_users_exist(world: World) -> None:
    assert issue(world.owner, owner="olga").json() == issue(world.owner, owner="nobody-at-all").json()


def test_an_admin_who_names_an_unknown_owner_is_told_so(world: World) -> None:
    response = issue(world.admin, owner="nobody-at-all")
    assert response.status_code == 400
    assert response.json()["error"]["field"] == "owner"


@pytest.mark.parametrize(
    "values", [{"max_uses": 0}, {"valid_hours": -1}, {"labels": {"a": {"b": 1}}}, {"label": ""}]
)
def test_a_code_that_makes_no_sense_is_refused(world: World, values: dict[str, Any]) -> None:
    before = EnrolmentCode.objects.count()
    assert issue(world.admin, **values).status_code == 400
    assert EnrolmentCode.objects.count() == before


def test_a_code_is_revoked_by_its_owner_and_seen_by_nobody_else(world: World) -> None:
    address = f"{CODES}/{world.code.pk}"
    assert client(person("oda", "owner")).get(address).status_code == 404
    assert client(world.owner).post(f"{address}/revoke").json()["state"] == "revoked"
    assert client(world.owner).post(f"{address}/revoke").status_code == 409


def test_the_status_counts_devices_jobs_and_runs(world: World) -> None:
    fleet(world.owner)
    shown = client(world.viewer).get("/api/v1/status").json()
    assert shown["devices"] == {
        "pending": 1,
        "revoked": 1,
        "offline": 2,
        "stale": 1,
        "paused": 1,
        "training": 1,
        "idle": 2,
    }
    assert (shown["queued_jobs"], shown["running_jobs"], shown["active_runs"]) == (1, 1, 1)


@pytest.mark.parametrize(("who", "sees"), [("owner", True), ("admin", True), ("viewer", False)])
def test_when_a_machine_is_free_is_told_to_its_owner_and_admins_only(
    world: World, who: str, sees: bool
) -> None:
    measured = {"relative_speed": 1.5, "network_bytes_a_second": 2e6}
    Device.objects.filter(pk=world.training.pk).update(**measured, free_hours=[0.25] * 168)
    shown = client(world.people[who]).get(f"{DEVICES}/{world.training.pk}").json()
    assert shown["free_hours"] == ([0.25] * 168 if sees else [])
    assert {name: shown[name] for name in measured} == measured
