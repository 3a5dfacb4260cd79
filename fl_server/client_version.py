"""Which clients the platform still understands."""

from django.conf import settings
from packaging.version import InvalidVersion, Version

from fl_server.exceptions import Conflict

CURE = "Install it with: pip install --upgrade constellation-client; then start it again."


def check(version: str) -> None:
    """Raise Conflict with the cure when a client is too old, or does not say how old it is."""
    oldest = settings.OLDEST_CLIENT
    try:
        old = Version(version) < Version(oldest)
    except InvalidVersion:
        old = True
    if old:
        said = version or "of an unknown version"
        raise Conflict(
            f"This client is {said}; this platform needs {oldest} or newer. {CURE}",
            code="client-too-old",
        )
