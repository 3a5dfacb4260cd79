from contextlib import closing
from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise with whole answers: under ASGI Django reads a stream whole anyway, and warns."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        with closing(WhiteNoiseMiddleware.serve(static_file, request)) as streamed:
            body = b"".join(streamed.streaming_content)
            whole = HttpResponse(body, status=streamed.status_code)
            del whole["Content-Type"]
            for name, value in streamed.items():
                whole[name] = value
        return whole
