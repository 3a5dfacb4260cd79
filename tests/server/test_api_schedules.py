from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server.models import Schedule, TrainingJob
from tests.server.world import SPEC, World, client

pytestmark = pytest.mark.services

SCHEDULES = "/api/v1/schedules"
NIGHTLY = {
    "name": "Clothes",
    "spec": SPEC,
    "kind": "cron",
    "cron": "30 2 * * mon-fri",
    "timezone": "Europe/Berlin",
}


def post(by: Any, **changes: Any) -> Any:
    return client(by).post(SCHEDULES, NIGHTLY | changes, format="json")


def test_a_new_schedule_says_when_it_runs(world: World) -> None:
    response = post(world.researcher)
    assert response.status_code == 201
    made = response.json()
    assert response["Location"] == f"{SCHEDULES}/{made['id']}"
    assert made["words"] == "At 02:30, Monday through Friday (Europe/Berlin)"
    assert (made["owner"], made["enabled"], made["missed"]) == ("rosa", True, "run-once")
    assert len(made["next_runs"]) == 5
    assert made["spec"]["rounds"] == 5
    assert made["jobs"] == []


def test_a_schedule_takes_the_specification_of_a_job(world: World) -> None:
    body = {name: value for name, value in NIGHTLY.items() if name != "spec"}
    made = client(world.researcher).post(SCHEDULES, body | {"job": world.foreign.pk}, format="json")
    assert made.json()["spec"] == world.foreign.spec
    for wrong in ({"job": 2**62}, {"job": -1}, {"job": world.foreign.pk, "spec": SPEC}):
        assert post_error(world, body | wrong)["field"] == "job"
    assert post_error(world, body)["field"] == "spec"


def post_error(world: World, body: dict[str, Any]) -> Any:
    response = client(world.researcher).post(SCHEDULES, body, format="json")
    assert response.status_code == 400
    return response.json()["error"]


def test_a_time_without_an_offset_is_one_of_the_schedules_time_zone(world: World) -> None:
    year = timezone.now().year + 1
    made = post(world.researcher, kind="once", cron="", at=f"{year}-07-01T08:00").json()
    assert made["at"] == f"{year}-07-01T06:00:00Z"
    made = post(world.researcher, kind="once", cron="", at=f"{year}-07-01T08:00+00:00").json()
    assert made["at"] == f"{year}-07-01T08:00:00Z"
    assert made["next_runs"] == [made["at"]]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"cron": "0 25 * * *"}, "invalid-input", "cron"),
        ({"cron": "0\u0000 2 * * *"}, "invalid-input", "cron"),
        ({"timezone": "Mars/Olympus"}, "invalid-input", "timezone"),
        ({"timezone": 7}, "invalid-input", "timezone"),
        ({"kind": "weekly"}, "invalid-input", "kind"),
        ({"kind": "once"}, "invalid-input", "at"),
        ({"kind": "once", "at": "2001-01-01T00:00Z"}, "invalid-input", "at"),
        ({"kind": "once", "at": "tomorrow"}, "invalid-input", "at"),
        ({"kind": "once", "at": "9999-12-31T23:59:59-12:00"}, "invalid-input", "at"),
        ({"kind": "once", "at": "0001-01-01T00:00:00+12:00"}, "invalid-input", "at"),
        ({"missed": "twice"}, "invalid-input", "missed"),
        ({"spec": {"rounds": 0}}, "invalid-spec", ""),
    ],
)
def test_each_fault_is_named(world: World, changes: dict[str, Any], code: str, field: str) -> None:
    response = post(world.researcher, **changes)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == code
    assert not field or error["field"] == field
    assert list(Schedule.objects.all()) == [world.schedule]


def test_only_what_is_given_changes(world: World) -> None:
    rosa = client(world.researcher)
    address = f"{SCHEDULES}/{post(world.researcher).json()['id']}"
    changed = rosa.patch(address, {"cron": "0 4 * * sun"}, format="json").json()
    assert (changed["cron"], changed["timezone"], changed["name"]) == (
        "0 4 * * sun",
        "Europe/Berlin",
        "Clothes",
    )
    assert rosa.patch(address, {"cron": "x"}, format="json").status_code == 400
    assert rosa.get(address).json()["cron"] == "0 4 * * sun"


def test_pausing_enabling_running_and_deleting(world: World) -> None:
    rosa = client(world.researcher)
    address = f"{SCHEDULES}/{post(world.researcher).json()['id']}"
    paused = rosa.post(f"{address}/pause").json()
    assert (paused["enabled"], paused["next_runs"]) == (False, [])
    again = rosa.post(f"{address}/pause")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert rosa.post(f"{address}/enable").json()["enabled"] is True
    started = rosa.post(f"{address}/run")
    assert started.status_code == 201
    job = started.json()
    assert started["Location"] == f"/api/v1/jobs/{job['id']}"
    assert job["status"] == "queued"
    assert [row["id"] for row in rosa.get(address).json()["jobs"]] == [job["id"]]
    assert rosa.delete(address).status_code == 204
    assert rosa.get(address).status_code == 404
    assert TrainingJob.objects.filter(pk=job["id"]).exists()


def test_a_researcher_sees_the_schedule_of_another_but_may_not_touch_it(world: World) -> None:
    address = f"{SCHEDULES}/{post(world.foreign.owner).json()['id']}"
    rosa = client(world.researcher)
    assert rosa.get(address).status_code == 200
    refused = [
        rosa.patch(address, {"name": "Mine"}, format="json"),
        rosa.delete(address),
        *(rosa.post(f"{address}/{action}") for action in ("pause", "enable", "run")),
    ]
    assert {response.status_code for response in refused} == {403}
    assert client(world.admin).post(f"{address}/pause").status_code == 200


def test_the_list_costs_the_same_queries_however_many_there_are(
    world: World, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        kind = {"kind": "once", "at": timezone.now() + timedelta(hours=1)} if number % 2 else {}
        assert post(world.researcher, name=f"Night {number}", **kind).status_code == 201
    viewer = client(world.viewer)
    with django_assert_max_num_queries(6):
        listed = viewer.get(SCHEDULES).json()
    assert len(listed["results"]) == 13
    assert "spec" not in listed["results"][0]
