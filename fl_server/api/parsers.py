import io
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from fl_server.exceptions import InvalidInput

LARGEST_BODY = 1_000_000  # bytes


class BoundedJSON(JSONParser):
    """JSON of bounded size; nesting that exhausts the stack is malformed, not a crash."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise InvalidInput(f"The body is larger than {LARGEST_BODY} bytes.", code="body-too-large")
        try:
            return super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError as exc:
            raise ParseError("JSON parse error - nested too deeply") from exc
