"""How the OpenAPI schema is made: each operation also says what a failure looks like."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

ERROR = {
    "description": "Every failure has this shape.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["code", "message", "docs"],
                        "properties": {
                            "code": {"type": "string", "description": "Stable; for programs"},
                            "message": {"type": "string", "description": "A sentence for people"},
                            "docs": {"type": "string", "description": "Where the code is explained"},
                            "field": {"type": "string"},
                            "errors": {
                                "type": "array",
                                "items": {"type": "object", "additionalProperties": {}},
                            },
                        },
                    }
                },
            }
        }
    },
}


class Schema(AutoSchema):
    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation:
            operation["responses"]["default"] = ERROR
        return operation
