"""Everything that may go wrong on purpose.

ConstellationError
├── InvalidInput        400  a field, its value and what is allowed
│   └── InvalidSpec     400  the same, for a job's specification
├── NotAuthenticated    401  a device's certificate or signature does not hold
├── NotAllowed          403  known, but not entitled
├── NotFound            404
├── Conflict            409  the object's status does not allow this
├── Gone                410  a code that is used up, expired or revoked
├── TooManyRequests     429
└── EngineUnavailable   503  the SuperLink does not answer; try again

Each carries a `code` (stable, documented in docs/errors.md), a sentence for people, the HTTP status, and
whether trying again can help.
"""

from typing import Any


class ConstellationError(Exception):
    code = "error"
    status = 500
    retry = False

    def __init__(
        self, message: str, *, code: str | None = None, field: str | None = None, **details: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.field = field
        self.details = details


class InvalidInput(ConstellationError):
    code = "invalid-input"
    status = 400


class InvalidSpec(InvalidInput):
    """`errors` lists every fault found: field, message, the value given."""

    code = "invalid-spec"

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        first = errors[0]
        super().__init__(f"{first['field']}: {first['message']}", field=first["field"], errors=errors)
        self.errors = errors


class NotAuthenticated(ConstellationError):
    code = "not-authenticated"
    status = 401


class NotAllowed(ConstellationError):
    code = "not-allowed"
    status = 403


class NotFound(ConstellationError):
    code = "not-found"
    status = 404


class Conflict(ConstellationError):
    code = "conflict"
    status = 409


class Gone(ConstellationError):
    code = "gone"
    status = 410


class TooManyRequests(ConstellationError):
    code = "too-many-requests"
    status = 429
    retry = True


class EngineUnavailable(ConstellationError):
    code = "engine-unavailable"
    status = 503
    retry = True
