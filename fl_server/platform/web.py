"""The web process: how uvicorn is set up, and whether it answers."""

import http.client
import ssl
from typing import Any

from django.conf import settings

from fl_server import pki

LARGEST_FRAME = 65_536  # bytes in a WebSocket message; a telemetry sample takes less than 2 KB
PING_SECONDS = 20.0
HEALTH = "/api/v1/health"


def options() -> dict[str, Any]:
    """Keyword arguments of `uvicorn.run`."""
    return {
        "host": settings.BIND_HOST,
        "port": settings.BIND_PORT,
        "lifespan": "on",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": settings.BEHIND_PROXY,
        "ws": "websockets-sansio",
        "ws_max_size": LARGEST_FRAME,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PING_SECONDS,
        "timeout_graceful_shutdown": 3,
        **_tls(),
    }


def _tls() -> dict[str, Any]:
    if not settings.USE_TLS:
        return {}
    certificate, key = (settings.TLS_CERTIFICATE, settings.TLS_KEY)
    if not certificate:
        certificate, key = pki.server_certificate()
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


def local_host() -> str:
    """Where this machine reaches the web process itself."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.BIND_HOST, settings.BIND_HOST)  # noqa: S104  compared


def answers() -> bool:
    """Whether our own server answers."""
    host, port = local_host(), settings.BIND_PORT
    connection = http.client.HTTPConnection(host, port, timeout=2.0)
    if settings.USE_TLS:
        # Asked from this machine and told nothing, it may carry any name in its certificate.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=2.0, context=context)
    try:
        connection.request("GET", HEALTH, headers={"Host": "localhost"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
