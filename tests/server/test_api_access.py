"""Who may call which route: one table, and a test that no route is missing from it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from fl_server.models import AuditEvent
from tests.server.world import SPEC, World, client

pytestmark = pytest.mark.services

ROLES = ("anonymous", "outsider", "owner", "viewer", "researcher", "admin")
PUBLIC = (200,) * 6
OBSERVERS = (401, 403, 403, 200, 200, 200)
OBSERVED = (401, 404, 404, 200, 200, 200)
SIGNED_IN = (401, 200, 200, 200, 200, 200)
# The fields below may not be guessed or a signature is missing: the same for everybody.
INVALID = (400,) * 6
UNSIGNED = (401,) * 6

WITH_ROLE = (401, 403, 200, 200, 200, 200)
NEW_RULE = {"metric": "memory", "threshold": 95, "clear_below": 90}
NEW_JOB = {"name": "A job", "spec": SPEC}
NEW_SCHEDULE = {**NEW_JOB, "kind": "cron", "cron": "30 2 * * *"}
# There is no such device; who may replace one that there is stands in test_replacement.py.
REPLACED = {"old": "00000000-0000-0000-0000-000000000000"}
# method, route, the attribute of the world whose key it takes, body, status for each of ROLES
TABLE: list[tuple[str, str, str, Any, tuple[int, ...]]] = [
    ("POST", "token", "", {}, INVALID),
    ("POST", "token-refresh", "", {}, INVALID),
    ("POST", "token-revoke", "", {}, INVALID),
    ("GET", "me", "", None, SIGNED_IN),
    ("GET", "strategies", "", None, OBSERVERS),
    ("GET", "models", "", None, OBSERVERS),
    ("GET", "datasets", "", None, OBSERVERS),
    ("GET", "partitions", "", None, OBSERVERS),
    ("GET", "optimizers", "", None, OBSERVERS),
    ("GET", "job-list", "", None, OBSERVERS),
    ("POST", "job-list", "", NEW_JOB, (401, 403, 403, 403, 201, 201)),
    ("POST", "job-validate", "", SPEC, (401, 403, 403, 403, 200, 200)),
    ("POST", "job-dry-run", "", SPEC, (401, 403, 403, 403, 200, 200)),
    ("GET", "job-detail", "running", None, OBSERVED),
    ("POST", "job-submit", "draft", None, (401, 404, 404, 403, 200, 200)),
    ("POST", "job-cancel", "draft", None, (401, 404, 404, 403, 200, 200)),
    ("POST", "job-pause", "running", {"now": False}, (401, 404, 404, 403, 200, 200)),
    # It is not paused.
    ("POST", "job-resume", "running", None, (401, 404, 404, 403, 409, 409)),
    ("POST", "job-clone", "running", {}, (401, 404, 404, 403, 201, 201)),
    ("POST", "job-rerun", "running", None, (401, 404, 404, 403, 201, 201)),
    ("GET", "job-events", "running", None, OBSERVED),
    ("GET", "job-metrics", "running", None, OBSERVED),
    ("GET", "job-rounds", "running", None, OBSERVED),
    ("GET", "job-participations", "running", None, OBSERVED),
    ("GET", "job-checkpoints", "running", None, OBSERVED),
    ("GET", "checkpoint-detail", "checkpoint", None, OBSERVED),
    ("GET", "checkpoint-download", "checkpoint", None, OBSERVED),
    ("GET", "schedule-list", "", None, OBSERVERS),
    ("POST", "schedule-list", "", NEW_SCHEDULE, (401, 403, 403, 403, 201, 201)),
    ("GET", "schedule-detail", "schedule", None, OBSERVED),
    ("PATCH", "schedule-detail", "schedule", {"name": "Other"}, (401, 404, 404, 403, 200, 200)),
    ("DELETE", "schedule-detail", "schedule", None, (401, 404, 404, 403, 204, 204)),
    ("POST", "schedule-pause", "schedule", None, (401, 404, 404, 403, 200, 200)),
    # It is enabled already.
    ("POST", "schedule-enable", "schedule", None, (401, 404, 404, 403, 409, 409)),
    ("POST", "schedule-run", "schedule", None, (401, 404, 404, 403, 201, 201)),
    ("POST", "checkpoint-pin", "checkpoint", None, (401, 404, 404, 403, 200, 200)),
    ("POST", "checkpoint-unpin", "checkpoint", None, (401, 404, 404, 403, 200, 200)),
    # There are no such two; who may compare two that there are stands in test_api_checkpoints.py.
    ("GET", "checkpoint-compare", "", None, (401, 404, 404, 404, 404, 404)),
    ("GET", "contribution-list", "", None, (401, 403, 200, 200, 200, 200)),
    ("GET", "contribution-export", "", None, (401, 403, 200, 200, 200, 200)),
    ("GET", "device-list", "", None, (401, 403, 200, 200, 200, 200)),
    ("GET", "device-detail", "training", None, (401, 404, 200, 200, 200, 200)),
    ("PATCH", "device-detail", "training", {"labels": {"room": "hall"}}, (401, 404, 403, 403, 403, 200)),
    ("GET", "device-policy", "training", None, (401, 404, 200, 200, 200, 200)),
    ("GET", "device-policy", "foreign_device", None, (401, 404, 404, 200, 200, 200)),
    ("GET", "device-telemetry", "training", None, (401, 404, 200, 200, 200, 200)),
    ("GET", "device-logs", "training", None, (401, 404, 200, 403, 403, 200)),
    ("POST", "device-logs", "training", None, (401, 404, 202, 403, 403, 202)),
    ("POST", "device-replace", "training", REPLACED, (401, 404, 404, 404, 404, 404)),
    ("POST", "device-approve", "pending", None, (401, 404, 403, 403, 403, 200)),
    ("POST", "device-release", "training", None, (401, 404, 403, 403, 403, 409)),
    ("POST", "device-revoke", "pending", {}, (401, 404, 200, 403, 403, 200)),
    ("GET", "code-list", "", None, (401, 403, 200, 403, 403, 200)),
    ("POST", "code-list", "", {"label": "New"}, (401, 403, 201, 403, 403, 201)),
    ("GET", "code-detail", "code", None, (401, 404, 200, 404, 404, 200)),
    ("POST", "code-revoke", "code", None, (401, 404, 200, 404, 404, 200)),
    ("GET", "policy", "", None, OBSERVERS),
    ("PUT", "policy", "", {}, (401, 403, 403, 403, 403, 200)),
    ("GET", "policy-schema", "", None, SIGNED_IN),
    ("PUT", "policy-group", "", {}, (401, 403, 403, 403, 403, 200)),
    ("DELETE", "policy-group", "", None, (401, 403, 403, 403, 403, 404)),
    ("GET", "notification-list", "", None, WITH_ROLE),
    ("GET", "notification-unread", "", None, WITH_ROLE),
    ("POST", "notification-read", "", {}, WITH_ROLE),
    ("GET", "notification-choices", "", None, WITH_ROLE),
    ("PUT", "notification-choices", "", {}, WITH_ROLE),
    ("GET", "notification-deliveries", "", None, WITH_ROLE),
    ("GET", "webhook", "", None, (401, 403, 404, 404, 404, 404)),
    ("PUT", "webhook", "", {"url": "https://hooks.example/x"}, WITH_ROLE),
    ("DELETE", "webhook", "", None, (401, 403, 404, 404, 404, 404)),
    ("POST", "webhook-test", "", None, (401, 403, 404, 404, 404, 404)),
    ("GET", "alert-list", "", None, WITH_ROLE),
    ("GET", "alert-rule-list", "", None, (401, 403, 403, 403, 403, 200)),
    ("POST", "alert-rule-list", "", NEW_RULE, (401, 403, 403, 403, 403, 201)),
    ("PATCH", "alert-rule-detail", "", {}, (401, 403, 403, 403, 403, 404)),
    ("DELETE", "alert-rule-detail", "", None, (401, 403, 403, 403, 403, 404)),
    ("GET", "health", "", None, PUBLIC),
    ("GET", "status", "", None, OBSERVERS),
    ("POST", "enrolment-join", "", {}, INVALID),
    ("GET", "device-ca", "", None, PUBLIC),
    ("GET", "device-me", "", None, UNSIGNED),
    ("POST", "device-leave", "", None, UNSIGNED),
    ("GET", "schema", "", None, SIGNED_IN),
    ("GET", "errors", "", None, PUBLIC),
    ("GET", "unknown", "", None, (404,) * 6),
]
# Pages of Django, which know sessions only; their own tests show who gets in.
PAGES = {"docs"}
# What stands in an address beside keys.
WORDS: dict[str, tuple[Any, ...]] = {
    "policy-group": ("room", "lab"),
    "alert-rule-detail": (4711,),
    "checkpoint-compare": (4711, 4712),
}
CASES = [
    pytest.param(method, route, key, body, role, status, id=f"{role} {method} {route}")
    for method, route, key, body, statuses in TABLE
    for role, status in zip(ROLES, statuses, strict=True)
]


def routes(patterns: list[Any]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns)
        else:
            yield pattern


def methods(pattern: URLPattern) -> set[str]:
    view = pattern.callback
    if actions := getattr(view, "actions", None):
        return {method.upper() for method in actions} - {"HEAD"}
    handlers = {
        m for m in ("get", "post", "put", "patch", "delete") if hasattr(getattr(view, "cls", None), m)
    }
    return {method.upper() for method in handlers} or {"GET"}


@pytest.mark.parametrize(("method", "route", "key", "body", "role", "status"), CASES)
def test_each_role_gets_what_the_table_says(
    world: World, method: str, route: str, key: str, body: Any, role: str, status: int
) -> None:
    address = reverse(f"api:{route}", args=[getattr(world, key).pk] if key else WORDS.get(route))
    response = client(world.people.get(role)).generic(
        method, address, data="" if body is None else json.dumps(body), content_type="application/json"
    )
    assert response.status_code == status, getattr(response, "data", None)
    if status >= 400:
        assert set(response.json()["error"]) >= {"code", "message", "docs"}
        assert not AuditEvent.objects.exists()
    response.close()


def test_every_api_route_and_method_is_in_the_table() -> None:
    api = next(p for p in get_resolver().url_patterns if str(p.pattern) == "api/")
    found = {(m, p.name) for p in routes(api.url_patterns) if p.name not in PAGES for m in methods(p)}
    assert len(found) > 30
    assert found == {(method, route) for method, route, *_ in TABLE}
