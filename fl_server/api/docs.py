"""The API described: its OpenAPI schema, a page to try it, and what each error code means."""

import re
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from drf_spectacular.renderers import OpenApiJsonRenderer2, OpenApiYamlRenderer2
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

ERRORS_FILE = settings.BASE_DIR / "docs" / "errors.md"
# Swagger UI styles elements from its script and draws its icons from data: addresses.
SWAGGER_CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)


class Document(SpectacularAPIView):
    """The OpenAPI schema: JSON, or YAML for those who ask with `Accept: application/yaml`."""

    permission_classes = [IsAuthenticated]
    renderer_classes = [OpenApiJsonRenderer2, OpenApiYamlRenderer2]


class _Explorer(SpectacularSwaggerSplitView):
    permission_classes = [IsAuthenticated]
    url_name = "api:schema"


@login_required
def explorer(request: HttpRequest) -> HttpResponse:
    response = _Explorer.as_view()(request)
    response["Content-Security-Policy"] = SWAGGER_CSP
    return response


@cache
def error_sections() -> list[tuple[str, list[str]]]:
    """docs/errors.md as pairs of code and paragraphs."""
    sections = re.split(r"^## ", ERRORS_FILE.read_text(), flags=re.MULTILINE)[1:]
    pairs = (section.split("\n", 1) for section in sections)
    return [
        (code.strip(), [p.replace("\n", " ") for p in text.strip().split("\n\n")]) for code, text in pairs
    ]


def errors_page(request: HttpRequest) -> HttpResponse:
    return TemplateResponse(request, "api/errors.html", {"sections": error_sections()})


class Unknown(APIView):
    """Whatever below /api/ is no route answers like the API, not with a page."""

    permission_classes = [AllowAny]
    authentication_classes = ()
    schema = None  # not part of the document

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is no such route; addresses below /api/v1/ end without a slash.")
