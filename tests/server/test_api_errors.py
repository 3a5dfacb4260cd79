"""Every failure has one shape, and every code is explained."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.urls import reverse
from rest_framework.test import APIClient

from fl_server.api import errors
from fl_server.api.docs import error_sections
from fl_server.api.parsers import LARGEST_BODY
from fl_server.exceptions import ConstellationError, EngineUnavailable
from tests.server.world import World, client

pytestmark = pytest.mark.services

JOBS = "/api/v1/jobs"


def error(response: Any) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert body["error"]["docs"] == f"/api/docs/errors#{body['error']['code']}"
    return body["error"]


def post(by: APIClient, body: str | bytes, content_type: str = "application/json") -> Any:
    return by.post(f"{JOBS}/validate", body, content_type=content_type)


@pytest.fixture
def rosa(world: World) -> APIClient:
    return client(world.researcher)


@pytest.mark.parametrize("body", ["{", "", "NaN", '{"a": Infinity}', b"\xff\xfe", "[" * 100_000])
def test_a_malformed_body_is_a_400(rosa: APIClient, body: str | bytes) -> None:
    response = post(rosa, body)
    assert response.status_code == 400
    assert error(response)["code"] in ("malformed", "invalid-spec")


def test_a_body_that_is_too_large_is_refused_unread(rosa: APIClient) -> None:
    response = post(rosa, " " * (LARGEST_BODY + 1))
    assert (response.status_code, error(response)["code"]) == (400, "body-too-large")


def test_a_form_is_not_json(rosa: APIClient) -> None:
    response = post(rosa, "a=1", "application/x-www-form-urlencoded")
    assert (response.status_code, error(response)["code"]) == (415, "unsupported-media-type")


def test_a_method_that_a_route_does_not_have_is_a_405(rosa: APIClient) -> None:
    response = rosa.delete(JOBS)
    assert (response.status_code, error(response)["code"]) == (405, "method-not-allowed")
    assert "GET" in response["Allow"]


def test_a_client_that_wants_no_json_is_told_so(rosa: APIClient) -> None:
    response = rosa.get(JOBS, headers={"Accept": "text/csv"})
    assert (response.status_code, error(response)["code"]) == (406, "not-acceptable")


@pytest.mark.parametrize("path", ["/api/", "/api/v1/", "/api/v1/jobs/", "/api/v1/jobs/x", "/api/v2/jobs"])
def test_an_unknown_address_below_api_answers_like_the_api(rosa: APIClient, path: str) -> None:
    response = rosa.get(path)
    assert (response.status_code, error(response)["code"]) == (404, "not-found")


def test_each_faulty_field_is_named(rosa: APIClient) -> None:
    found = error(rosa.post(JOBS, {"submit": "perhaps"}, format="json"))
    assert (found["code"], found["field"]) == ("invalid-input", "name")
    assert [fault["field"] for fault in found["errors"]] == ["name", "spec", "submit"]


def test_a_crash_is_logged_and_tells_strangers_nothing(
    rosa: APIClient, monkeypatch: Any, caplog: Any
) -> None:
    def crash(user: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr("fl_server.api.jobs.selectors.visible_to", crash)
    response = rosa.get(JOBS)
    assert (response.status_code, error(response)["code"]) == (500, "internal")
    assert b"swordfish" not in response.content
    assert "swordfish" in caplog.text


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (OperationalError("database is locked"), "database-busy"),
        (EngineUnavailable("The engine does not answer."), "engine-unavailable"),
    ],
)
def test_what_a_later_try_can_cure_says_when_to_try(fault: Exception, code: str) -> None:
    response = errors.handle(fault, {})
    assert (response.status_code, response.data["error"]["code"]) == (503, code)
    assert int(response["Retry-After"]) > 0


def test_the_details_of_an_exception_reach_the_client() -> None:
    fault = ConstellationError("Too late.", code="clock-skew", field="time", server_time=12.5)
    assert errors.handle(fault, {}).data["error"] == {
        "code": "clock-skew",
        "message": "Too late.",
        "docs": "/api/docs/errors#clock-skew",
        "field": "time",
        "server_time": 12.5,
    }


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Codes that exceptions of the tree carry: `code = "…"` in a class, `code="…"` where one is made."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                    yield from [line.value.value] if isinstance(line.value, ast.Constant) else []
        if isinstance(node, ast.Call) and _makes_exception(node):
            yield from (
                k.value.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)
            )


def _makes_exception(call: ast.Call) -> bool:
    names = [kind.__name__ for kind in _all(ConstellationError)]
    return ast.unparse(call.func).split(".")[-1] in names


def _all(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _all(below)


def test_every_code_has_a_section() -> None:
    files = [p for p in Path(settings.BASE_DIR, "fl_server").rglob("*.py") if "migrations" not in p.parts]
    used = {code for path in files for code in codes_in(ast.parse(path.read_text()))}
    used |= {*errors.CODES.values(), *errors.TOKEN_CODES.values()}
    used |= set(re.findall(r'_answer\(\d+, "([a-z-]+)"', Path(errors.__file__).read_text()))
    assert len(used) > 25
    explained = [code for code, _ in error_sections()]
    assert len(explained) == len(set(explained))
    assert used <= set(explained)


def test_the_page_of_codes_leads_to_each_of_them(client: Any) -> None:
    page = client.get(reverse("api:errors")).content.decode()
    sections = error_sections()
    assert len(sections) > 25
    for code, paragraphs in sections:
        assert f'id="{code}"' in page
        assert paragraphs[0]
