"""Every failure of the API in one shape; docs/errors.md has a section for each code.

{"error": {"code", "message", "docs", "field"?, "errors"?, …details}}
"""

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DataError, OperationalError
from django.http import Http404
from rest_framework import exceptions as rest
from rest_framework.response import Response
from rest_framework.views import set_rollback

from fl_server import exceptions as ours

logger = logging.getLogger(__name__)

DOCS = "/api/docs/errors"
RETRY_AFTER = 5  # seconds

CODES: dict[type[rest.APIException], str] = {
    rest.ParseError: "malformed",
    rest.NotAuthenticated: "not-authenticated",
    rest.PermissionDenied: "not-allowed",
    rest.NotFound: "not-found",
    rest.MethodNotAllowed: "method-not-allowed",
    rest.NotAcceptable: "not-acceptable",
    rest.UnsupportedMediaType: "unsupported-media-type",
    rest.Throttled: "too-many-requests",
}
TOKEN_CODES = {"no_active_account": "login-failed"}


def handle(exc: Exception, context: dict[str, Any]) -> Response:
    set_rollback()
    if isinstance(exc, ours.ConstellationError):
        return _ours(exc)
    if isinstance(exc, Http404):
        exc = rest.NotFound("There is no such thing, or you may not see it.")
    elif isinstance(exc, PermissionDenied):
        exc = rest.PermissionDenied()
    if isinstance(exc, rest.APIException):
        return _rest(exc)
    if isinstance(exc, DataError):
        return _answer(
            400, "invalid-input", "A value cannot be stored: too large, or with characters not allowed."
        )
    if isinstance(exc, OperationalError):
        logger.warning("database did not answer: %s", exc)
        return _answer(
            503, "database-busy", "The database does not answer; try again.", retry_after=RETRY_AFTER
        )
    request = context.get("request")
    logger.error("%s %s failed", getattr(request, "method", ""), getattr(request, "path", ""), exc_info=exc)
    return _answer(500, "internal", "Something went wrong on the server; its log says what.")


def _answer(
    status: int, code: str, message: str, *, retry_after: float | None = None, auth: str = "", **more: Any
) -> Response:
    error = {"code": code, "message": message, "docs": f"{DOCS}#{code}"}
    error |= {name: value for name, value in more.items() if value is not None}
    headers = {}
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, round(retry_after)))
    if auth:
        headers["WWW-Authenticate"] = auth
    return Response({"error": error}, status=status, headers=headers)


def _ours(exc: ours.ConstellationError) -> Response:
    details = dict(exc.details)
    retry_after = details.pop("retry_after", RETRY_AFTER if exc.retry else None)
    if exc.status >= 500 and not exc.retry:
        logger.error("%s: %s", exc.code, exc.message, exc_info=exc)
    return _answer(
        exc.status, exc.code, exc.message, retry_after=retry_after, **{"field": exc.field, **details}
    )


def _rest(exc: rest.APIException) -> Response:
    auth = getattr(exc, "auth_header", "")
    if isinstance(exc, rest.ValidationError):
        faults = list(_faults(exc.detail))
        first = faults[0]
        message = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
        return _answer(exc.status_code, "invalid-input", message, field=first["field"] or None, errors=faults)
    if isinstance(exc, rest.AuthenticationFailed):
        return _answer(exc.status_code, _token_code(exc), _sentence(exc.detail), auth=auth)
    message = _sentence(exc.detail)
    code = CODES.get(type(exc), "error")
    if message.startswith("CSRF Failed"):
        code = "csrf-failed"
    return _answer(exc.status_code, code, message, retry_after=getattr(exc, "wait", None), auth=auth)


def _token_code(exc: rest.AuthenticationFailed) -> str:
    codes = exc.get_codes()
    code = codes.get("code", "") if isinstance(codes, dict) else codes
    return TOKEN_CODES.get(str(code), "token-invalid")


def _sentence(detail: Any) -> str:
    if isinstance(detail, dict):
        return str(detail.get("detail", ""))
    return " ".join(str(part) for part in detail) if isinstance(detail, list) else str(detail)


def _faults(detail: Any, path: str = "") -> Any:
    """Flatten what the REST framework nests: one entry of field and message for each fault."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            inner_path = path if name == "non_field_errors" else f"{path}.{name}".strip(".")
            yield from _faults(inner, inner_path)
    elif isinstance(detail, list):
        for number, inner in enumerate(detail):
            yield from _faults(
                inner, f"{path}.{number}".strip(".") if isinstance(inner, dict | list) else path
            )
    else:
        yield {"field": path, "message": str(detail)}
