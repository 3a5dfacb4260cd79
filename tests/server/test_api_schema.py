from io import StringIO
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command

from tests.server.world import World, client

pytestmark = pytest.mark.services


def test_the_schema_is_valid_and_made_without_warnings() -> None:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
    assert '"/api/v1/jobs/{id}/cancel"' in out.getvalue()


def test_the_schema_shows_the_specification_of_a_job_and_the_shape_of_errors(world: World) -> None:
    document = client(world.viewer).get("/api/schema/").json()
    assert "rounds" in document["components"]["schemas"]["JobSpec"]["properties"]
    assert "default" in document["paths"]["/api/v1/jobs"]["post"]["responses"]


def test_the_explorer_loads_nothing_from_elsewhere(world: World, client: Any) -> None:
    client.force_login(world.viewer)
    response = client.get("/api/docs/")
    page = response.content.decode()
    assert response.status_code == 200
    assert "//" not in page.replace("<!--", "").split("</head>")[0].replace("/static//", "")
    assert "cdn" not in page
    assert "unsafe" not in response["Content-Security-Policy"].split("style-src")[0]
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"):
        path = f"drf_spectacular_sidecar/swagger-ui-dist/{name}"
        assert f"/static/{path}" in page
        assert finders.find(path)


def test_the_explorer_asks_strangers_to_log_in(client: Any, db: None) -> None:
    response = client.get("/api/docs/")
    assert response.status_code == 302
    assert "next=/api/docs/" in response["Location"]
