import ssl
from typing import Any

import httpx
from django.conf import settings

from fl_server import pki
from fl_server.platform import web
from fl_server.platform.errors import PlatformError

SECONDS = 20.0


class Api:
    """The REST API as a program of a user's own would call it: with a token, over HTTP."""

    def __init__(self, user: str, password: str) -> None:
        self._http = httpx.Client(base_url=f"{_address()}/api/v1/", verify=_trust(), timeout=SECONDS)
        token = self.post("auth/token", {"username": user, "password": password})
        self._http.headers["Authorization"] = f"Bearer {token['access']}"

    def get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, params=query)

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The first page of a list."""
        found = self.get(path, **query)["results"]
        assert isinstance(found, list)
        return found

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as exc:
            raise PlatformError(f"{method} {path} got no answer: {exc}") from exc
        if response.is_error:
            raise PlatformError(f"{method} {path} was answered {response.status_code}: {response.text[:500]}")
        return response.json()


def _address() -> str:
    host = web.local_host()
    scheme = "https" if settings.USE_TLS else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.BIND_PORT}"


def _trust() -> ssl.SSLContext | bool:
    if settings.USE_TLS and not settings.TLS_CERTIFICATE:
        return ssl.create_default_context(cadata=pki.ca_pem())
    return True
