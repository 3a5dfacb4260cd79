"""System checks: settings that contradict each other stop the server before it listens."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from constellation_web import environment as env


@register("constellation")
def addresses(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.ON_LOOPBACK and not (settings.USE_TLS or settings.BEHIND_PROXY):
        found.append(
            Error(
                f"CONSTELLATION_BIND is {settings.BIND_HOST}:{settings.BIND_PORT}, open to all, without TLS.",
                hint="Leave CONSTELLATION_TLS alone, or set CONSTELLATION_BEHIND_PROXY=1 behind a TLS proxy.",
                id="constellation.E001",
            )
        )
    if bool(settings.TLS_CERTIFICATE) != bool(settings.TLS_KEY):
        found.append(
            Error(
                "CONSTELLATION_TLS_CERT and CONSTELLATION_TLS_KEY belong together; one of them is empty.",
                id="constellation.E002",
            )
        )
    for name, path in (
        ("CONSTELLATION_TLS_CERT", settings.TLS_CERTIFICATE),
        ("CONSTELLATION_TLS_KEY", settings.TLS_KEY),
    ):
        if path and not Path(path).is_file():
            found.append(Error(f"{name} is {path!r}, which is not a file.", id="constellation.E003"))
    if settings.ENGINE_PORT == settings.BIND_PORT:
        found.append(
            Error(
                f"CONSTELLATION_ENGINE_PORT and CONSTELLATION_BIND both use port {settings.BIND_PORT}.",
                id="constellation.E004",
            )
        )
    if env.is_any(urlsplit(settings.PUBLIC_URL).hostname or ""):
        found.append(
            Error(
                f"CONSTELLATION_BIND is {settings.BIND_HOST}:{settings.BIND_PORT}, which is no address that "
                "another machine can call.",
                hint="Set CONSTELLATION_HOSTS to the server's name, or CONSTELLATION_URL to its address.",
                id="constellation.E006",
            )
        )
    if settings.WARN_BEFORE_DAYS >= settings.REMOVE_AFTER_DAYS:
        found.append(
            Error(
                f"CONSTELLATION_WARN_BEFORE_DAYS is {settings.WARN_BEFORE_DAYS:g}; it must be less than "
                f"CONSTELLATION_REMOVE_AFTER_DAYS, which is {settings.REMOVE_AFTER_DAYS:g}.",
                id="constellation.E005",
            )
        )
    return found


@register("constellation")
def safety(**_: Any) -> list[CheckMessage]:
    if settings.DEBUG and (settings.BEHIND_PROXY or not settings.ON_LOOPBACK):
        return [
            Warning(
                "DJANGO_DEBUG is on while others can reach the server: error pages show settings.",
                id="constellation.W001",
            )
        ]
    return []
