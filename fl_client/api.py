"""Requests to the platform over HTTPS. Third-party errors become ours here and nowhere else."""

import ipaddress
import json
import ssl
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from fl_client.identity import Identity
from fl_client.link_errors import BadCode, Refused, Unreachable, Untrusted, refusal

DEADLINE = httpx.Timeout(20.0, connect=10.0)
LARGEST_ANSWER = 1_000_000  # bytes


class PlatformApi:
    """`identity` given: every request is signed, and a clock that is off is corrected once."""

    def __init__(self, url: str, verify: ssl.SSLContext | bool, identity: Identity | None = None) -> None:
        check_url(url)
        self._identity = identity
        self._url = url
        self._client = httpx.Client(base_url=url, verify=verify, timeout=DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get_text(self, path: str) -> str:
        return self._request("GET", path).decode()

    def get(self, path: str) -> dict[str, Any]:
        return _object(self._request("GET", path))

    def post(self, path: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        return _object(self._request("POST", path, json.dumps(data or {}).encode()))

    def _request(self, method: str, path: str, body: bytes = b"") -> bytes:
        try:
            return self._once(method, path, body)
        except Refused as exc:
            if exc.code != "clock-skew" or exc.server_time is None or self._identity is None:
                raise
            self._identity.clock.correct(exc.server_time)
            return self._once(method, path, body)

    def _once(self, method: str, path: str, body: bytes) -> bytes:
        headers = {"content-type": "application/json"} if body else {}
        if self._identity is not None:
            headers |= self._identity.sign(method, path, body)
        try:
            answer = self._client.request(method, path, content=body or None, headers=headers)
        except httpx.ConnectError as exc:
            if "CERTIFICATE_VERIFY_FAILED" in str(exc):
                raise Untrusted(
                    f"{self._url} does not prove to be the server that was enrolled with: {exc}"
                ) from exc
            raise Unreachable(f"{self._url} cannot be reached: {exc}") from exc
        except httpx.HTTPError as exc:
            raise Unreachable(f"{self._url} cannot be reached: {exc or type(exc).__name__}") from exc
        return _checked(answer)


def check_url(url: str) -> None:
    """Plain HTTP never leaves the machine."""
    parts = urlsplit(url)
    if parts.hostname and (
        parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))
    ):
        return
    raise BadCode(
        f"The server's address is {url!r}; it must start with https://, or be http:// on this machine."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(answer: httpx.Response) -> bytes:
    if len(answer.content) > LARGEST_ANSWER:
        raise Refused("The server's answer is too large.", "answer-unreadable")
    if answer.is_success:
        return answer.content
    try:
        error = answer.json()["error"]
        code, message, server_time = str(error["code"]), str(error["message"]), error.get("server_time")
    except (ValueError, KeyError, TypeError):
        code, message, server_time = (
            f"http-{answer.status_code}",
            f"The server answers {answer.status_code}.",
            None,
        )
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Unreachable(f"{message} Try again later.")
    raise refusal(code, message, float(server_time) if server_time is not None else None)


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        data = json.loads(body)
    except ValueError as exc:
        raise Refused("The server's answer is not JSON.", "answer-unreadable") from exc
    if not isinstance(data, dict):
        raise Refused("The server's answer is not a JSON object.", "answer-unreadable")
    return data
