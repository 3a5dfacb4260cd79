"""Requests say nothing that would be passed over: an unknown field is refused, and nothing happens."""

from typing import Any

import pytest
from django.urls import reverse

from fl_server.models import AlertRule, Policy, TrainingJob
from tests.server.world import SPEC, World, client

pytestmark = pytest.mark.services


def refused(by: Any, method: str, address: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = getattr(client(by), method)(address, body, format="json")
    assert answer.status_code == 400, answer.content
    error: dict[str, Any] = answer.json()["error"]
    return error


def requests(world: World) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """One of each family: a good request, until a field that it does not know comes along."""
    rule = AlertRule.objects.create(metric="cpu", threshold=90, clear_below=80)
    job, schedule, device = world.draft.pk, world.schedule.pk, world.training.pk
    return {
        "job": ("post", reverse("api:job-list"), {"name": "new", "spec": SPEC}),
        "submission": ("post", f"/api/v1/jobs/{job}/submit", {}),
        "pause": ("post", f"/api/v1/jobs/{world.running.pk}/pause", {}),
        "copy": ("post", f"/api/v1/jobs/{job}/clone", {}),
        "schedule": ("patch", f"/api/v1/schedules/{schedule}", {"name": "renamed"}),
        "read": ("post", "/api/v1/notifications/read", {}),
        "choices": ("put", "/api/v1/notifications/choices", {}),
        "webhook": ("put", "/api/v1/notifications/webhook", {"url": "https://hooks.example/x"}),
        "rule": ("patch", f"/api/v1/alert-rules/{rule.pk}", {"threshold": 91}),
        "policy": ("put", "/api/v1/policy", {}),
        "code": ("post", "/api/v1/enrolment/codes", {"label": "lab"}),
        "labels": ("patch", f"/api/v1/devices/{device}", {"labels": {}}),
        "revocation": ("post", f"/api/v1/devices/{device}/revoke", {}),
        "replacement": ("post", f"/api/v1/devices/{device}/replace", {"old": str(world.pending.pk)}),
    }


FAMILIES = [
    "job",
    "submission",
    "pause",
    "copy",
    "schedule",
    "read",
    "choices",
    "webhook",
    "rule",
    "policy",
    "code",
    "labels",
    "revocation",
    "replacement",
]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_field_of_a_request_is_refused_by_name(world: World, family: str) -> None:
    method, address, body = requests(world)[family]
    before = TrainingJob.objects.count()
    error = refused(world.admin, method, address, {**body, "checkpoint": 1})
    assert (error["code"], error["field"]) == ("invalid-input", "checkpoint")
    assert TrainingJob.objects.count() == before
    assert not Policy.objects.exists()


def test_the_answer_says_what_is_allowed(world: World) -> None:
    error = refused(world.researcher, "post", f"/api/v1/jobs/{world.draft.pk}/clone", {"checkpoint": 1})
    assert error["message"] == (
        "checkpoint: There is no such field to set; allowed are name, start_checkpoint."
    )


def test_unknown_fields_are_named_beside_other_faults_and_inside_others(world: World) -> None:
    error = refused(world.researcher, "post", "/api/v1/jobs", {"nam": "x", "spec": SPEC})
    assert [fault["field"] for fault in error["errors"]] == ["nam", "name"]
    inner = {"alert": {"mail": True}}
    error = refused(world.researcher, "put", "/api/v1/notifications/choices", inner)
    assert error["field"] == "alert.mail"


def test_what_only_the_server_sets_is_no_field_of_a_request(world: World) -> None:
    rule = AlertRule.objects.create(metric="cpu", threshold=90, clear_below=80)
    assert refused(world.admin, "patch", f"/api/v1/alert-rules/{rule.pk}", {"id": 7})["field"] == "id"


def test_a_body_full_of_unknown_fields_gets_a_short_answer(world: World) -> None:
    body = {f"field-{n}": n for n in range(1000)}
    error = refused(world.researcher, "post", f"/api/v1/jobs/{world.draft.pk}/clone", body)
    assert len(error["errors"]) == 10


def test_the_schema_says_that_there_are_no_other_fields(world: World) -> None:
    schemas = client(world.viewer).get("/api/schema/").json()["components"]["schemas"]
    for name in (
        "NewJob",
        "Copy",
        "PatchedChanges",
        "NewCode",
        "PatchedRelabelling",
        "Rule",
        "Ways",
        "JobSpec",
    ):
        assert schemas[name]["additionalProperties"] is False, name
    assert "additionalProperties" not in schemas["Job"]
