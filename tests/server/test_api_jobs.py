import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fl_server import roles
from fl_server.models import AuditEvent, TrainingJob
from tests.server.world import SPEC, World, client, job, person

pytestmark = pytest.mark.services

JOBS = "/api/v1/jobs"


def submit(by: Any, key: str = "", **changes: Any) -> Any:
    body = {"name": "A job", "spec": SPEC} | changes
    headers = {"Idempotency-Key": key} if key else {}
    return client(by).post(JOBS, body, format="json", headers=headers)


def test_a_new_job_is_queued_with_its_specification_filled_in(world: World) -> None:
    response = submit(world.researcher)
    assert response.status_code == 201
    made = response.json()
    assert response["Location"] == f"{JOBS}/{made['id']}"
    assert (made["status"], made["owner"]) == ("queued", "rosa")
    assert made["spec"]["training"]["optimizer"] == "sgd"
    assert made["headline"]["rounds"] == 5
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["job.submit", "job.create"]


def test_a_job_may_stay_a_draft_and_be_submitted_once(world: World) -> None:
    address = f"{JOBS}/{submit(world.researcher, submit=False).json()['id']}"
    rosa = client(world.researcher)
    assert rosa.get(address).json()["status"] == "draft"
    assert rosa.post(f"{address}/submit").json()["status"] == "queued"
    again = rosa.post(f"{address}/submit")
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "conflict"


def test_the_same_idempotency_key_makes_one_job(world: World) -> None:
    first, second = submit(world.researcher, "night-7").json(), submit(world.researcher, "night-7").json()
    assert first["id"] == second["id"]
    assert submit(world.admin, "night-7").json()["id"] != first["id"]


def test_an_idempotency_key_that_is_too_long_is_refused(world: World) -> None:
    assert submit(world.researcher, "k" * 81).status_code == 400


def test_every_fault_of_a_specification_is_named(world: World) -> None:
    before = TrainingJob.objects.count()
    response = submit(world.researcher, spec=SPEC | {"rounds": 0, "model": {"name": "oracle"}})
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["code"] == "invalid-spec"
    assert {fault["field"] for fault in error["errors"]} == {"rounds", "model"}
    assert TrainingJob.objects.count() == before


@pytest.mark.parametrize("spec", [[], "text", None, 7, {}])
def test_a_specification_that_is_no_specification_is_refused(world: World, spec: Any) -> None:
    assert submit(world.researcher, spec=spec).status_code == 400
    validated = client(world.researcher).post(
        f"{JOBS}/validate", json.dumps(spec), content_type="application/json"
    )
    assert validated.status_code == 400


def test_validating_answers_the_full_specification_and_creates_nothing(world: World) -> None:
    before = TrainingJob.objects.count()
    response = client(world.researcher).post(f"{JOBS}/validate", SPEC, format="json")
    assert response.json()["participation"]["min_devices"] == 1
    assert TrainingJob.objects.count() == before


def test_a_researcher_sees_the_job_of_another_but_may_not_end_it(world: World) -> None:
    rosa = client(world.researcher)
    assert rosa.get(f"{JOBS}/{world.foreign.pk}").status_code == 200
    refused = rosa.post(f"{JOBS}/{world.foreign.pk}/cancel")
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "not-allowed"
    world.foreign.refresh_from_db()
    assert world.foreign.status == "queued"


def test_a_researcher_who_became_a_viewer_no_longer_manages_the_own_jobs(world: World) -> None:
    world.researcher.groups.clear()
    world.researcher.groups.add(world.viewer.groups.get(name=roles.VIEWER))
    assert client(world.researcher).post(f"{JOBS}/{world.draft.pk}/submit").status_code == 403


def test_cancelling_gives_the_reason_and_works_once(world: World) -> None:
    rosa = client(world.researcher)
    cancelled = rosa.post(f"{JOBS}/{world.running.pk}/cancel").json()
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "Cancelled by rosa.")
    assert rosa.post(f"{JOBS}/{world.running.pk}/cancel").status_code == 409


def test_a_job_pauses_after_its_round_or_at_once_and_is_resumed(world: World) -> None:
    rosa, address = client(world.researcher), f"{JOBS}/{world.running.pk}"
    asked = rosa.post(f"{address}/pause").json()
    assert (asked["status"], asked["phase"], asked["pausing"]) == ("running", "running", True)
    assert rosa.post(f"{address}/pause", {"now": False}, format="json").status_code == 409
    paused = rosa.post(f"{address}/pause", {"now": True}, format="json").json()
    assert (paused["status"], paused["phase"], paused["reason_code"]) == ("paused", "paused", "paused")
    assert paused["headline"]["devices"] == 0
    resumed = rosa.post(f"{address}/resume").json()
    assert (resumed["status"], resumed["reason"]) == ("queued", "")
    assert rosa.get(JOBS, {"status": "paused"}).json()["count"] == 0
    assert rosa.post(f"{address}/pause", {"now": "maybe"}, format="json").status_code == 400


def test_a_copy_is_a_draft_and_a_rerun_is_queued(world: World) -> None:
    rosa, address = client(world.researcher), f"{JOBS}/{world.foreign.pk}"
    answer = rosa.post(f"{address}/clone", {"name": "Mine"}, format="json")
    copy = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"{JOBS}/{copy['id']}")
    assert (copy["status"], copy["phase"], copy["name"], copy["owner"]) == ("draft", "draft", "Mine", "rosa")
    assert copy["cloned_from"] == world.foreign.pk
    again = rosa.post(f"{address}/rerun").json()
    assert (again["status"], again["name"]) == ("queued", "Somebody else's (copy)")


def test_a_job_begins_with_the_weights_of_a_checkpoint_of_the_same_model(world: World) -> None:
    rosa, start = client(world.researcher), world.checkpoint.pk
    copy = rosa.post(f"{JOBS}/{world.running.pk}/clone", {"start_checkpoint": start}, format="json")
    assert copy.json()["start_checkpoint"] == start
    assert submit(world.researcher, start_checkpoint=start).json()["start_checkpoint"] == start
    other = submit(world.researcher, spec=SPEC | {"model": {"name": "2nn"}}, start_checkpoint=start)
    assert (other.status_code, other.json()["error"]["field"]) == (400, "start_checkpoint")
    unknown = submit(world.researcher, start_checkpoint=10**9)
    assert (unknown.status_code, unknown.json()["error"]["field"]) == (400, "start_checkpoint")


def test_a_job_may_wait_for_its_time(world: World) -> None:
    at = (timezone.now() + timedelta(hours=5)).replace(microsecond=0)
    made = submit(world.researcher, start_at=at.isoformat()).json()
    assert (made["status"], datetime.fromisoformat(made["not_before"])) == ("queued", at)
    draft = f"{JOBS}/{world.draft.pk}/submit"
    far = client(world.researcher).post(draft, {"start_at": "2999-01-01T00:00:00Z"}, format="json")
    assert (far.status_code, far.json()["error"]["field"]) == (400, "start_at")
    queued = client(world.researcher).post(draft, {"start_at": at.isoformat()}, format="json").json()
    assert datetime.fromisoformat(queued["not_before"]) == at


def test_every_move_of_a_job_can_be_read_with_who_made_it(world: World) -> None:
    rosa, address = client(world.researcher), f"{JOBS}/{world.draft.pk}"
    rosa.post(f"{address}/submit")
    rosa.post(f"{address}/pause")
    rosa.post(f"{address}/cancel")
    moves = client(world.viewer).get(f"{address}/events").json()["results"]
    assert [(m["status"], m["code"], m["actor"], m["run"]) for m in moves] == [
        ("queued", "submitted", "rosa", None),
        ("paused", "paused", "rosa", None),
        ("cancelled", "cancelled", "rosa", None),
    ]
    assert moves[0]["sentence"]
    assert rosa.get(address).json()["phase"] == "finished"


def test_a_job_that_was_submitted_is_not_submitted_again_whatever_became_of_it(world: World) -> None:
    rosa = client(world.researcher)
    assert rosa.post(f"{JOBS}/{world.running.pk}/submit").status_code == 409
    rosa.post(f"{JOBS}/{world.running.pk}/pause", {"now": True}, format="json")
    assert rosa.post(f"{JOBS}/{world.running.pk}/submit").status_code == 409


def test_the_head_line_counts_rounds_and_shows_the_last_evaluation(world: World) -> None:
    assert client(world.viewer).get(f"{JOBS}/{world.running.pk}").json()["headline"] == {
        "rounds": 5,
        "rounds_done": 2,
        "devices": 1,
        "evaluated_round": 1,
        "loss": 0.9,
        "accuracy": 0.61,
        "training": {"train-loss": 0.5},
    }


def test_the_list_says_why_a_job_waits(world: World) -> None:
    waiting = {"sentence": "Waits for devices: 3 needed, 1 fit now.", "needed": 3, "fit": 1}
    TrainingJob.objects.filter(pk=world.foreign.pk).update(waiting=waiting)
    queued = client(world.viewer).get(JOBS, {"status": "queued"}).json()["results"]
    assert [row["waiting"] for row in queued] == [waiting]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"status": ["draft", "running"], "ordering": "id"}, ["Clothes by night", "Not yet"]),
        ({"owner": "rudi"}, ["Somebody else's"]),
        ({"name": "NIGHT"}, ["Clothes by night"]),
        ({"ordering": "name"}, ["Clothes by night", "Not yet", "Somebody else's"]),
        ({}, ["Somebody else's", "Not yet", "Clothes by night"]),
    ],
)
def test_jobs_are_filtered_and_ordered(world: World, query: dict[str, Any], names: list[str]) -> None:
    assert [row["name"] for row in client(world.viewer).get(JOBS, query).json()["results"]] == names


@pytest.mark.parametrize("query", [{"status": "asleep"}, {"name": "a\x00b"}])
def test_a_filter_with_a_senseless_value_is_refused(world: World, query: dict[str, str]) -> None:
    assert client(world.viewer).get(JOBS, query).status_code == 400


def test_pages_are_bounded_and_lead_on(world: World) -> None:
    page = client(world.viewer).get(JOBS, {"page_size": 2}).json()
    assert (page["count"], len(page["results"])) == (3, 2)
    assert "page=2" in page["next"]
    assert client(world.viewer).get(JOBS, {"page": 99}).status_code == 404


def test_a_list_costs_the_same_queries_however_many_jobs_there_are(world: World) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client(world.viewer).get(JOBS).status_code == 200
        return len(seen)

    few = queries()
    for number in range(10):
        job(world.researcher, f"more {number}")
    assert queries() == few <= 6


def test_the_rounds_and_who_took_part_can_be_read(world: World) -> None:
    vera, address = client(world.viewer), f"{JOBS}/{world.running.pk}"
    rounds = vera.get(f"{address}/rounds").json()["results"]
    assert [(r["number"], r["examples"], r["accepted"]) for r in rounds] == [(1, 600, 2), (2, 1200, 2)]
    rows = vera.get(f"{address}/participations", {"round": 2}).json()["results"]
    assert [(row["device_name"], row["status"]) for row in rows] == [("otto-desk", "training")]
    assert vera.get(f"{address}/participations", {"round": 10**12}).status_code == 400


def test_the_metrics_are_arrays_of_equal_length_with_gaps_as_null(world: World) -> None:
    charts = client(world.viewer).get(f"{JOBS}/{world.running.pk}/metrics").json()
    assert charts["rounds"] == [1, 2]
    assert charts["evaluation"] == {"accuracy": [0.61, None], "loss": [0.9, None]}
    assert charts["training"] == {"train-loss": [1.0, 0.5]}
    assert charts["seconds"] == [2.0, 2.0]


def test_a_job_without_rounds_has_empty_metrics(world: World) -> None:
    charts = client(world.viewer).get(f"{JOBS}/{world.draft.pk}/metrics").json()
    assert charts["rounds"] == []
    assert charts["evaluation"] == {}


@pytest.mark.parametrize("end", ["", "/rounds", "/participations", "/checkpoints", "/metrics", "/events"])
def test_a_job_that_does_not_exist_is_not_found(world: World, end: str) -> None:
    for number in (999_999, 10**30):
        assert client(world.admin).get(f"{JOBS}/{number}{end}").status_code == 404


def test_an_owner_of_devices_sees_no_jobs_even_when_a_device_works_on_one(world: World) -> None:
    assert client(world.owner).get(f"{JOBS}/{world.running.pk}").status_code == 404
    assert client(person("ines")).get(JOBS).status_code == 403
