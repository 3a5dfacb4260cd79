"""The time on this machine's wall, with the zone that knows when it is put forward or back."""

import os
from contextlib import suppress
from datetime import datetime, tzinfo
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

ZONE_FILE = Path("/etc/localtime")


def now() -> datetime:
    zone = _zone(os.environ.get("TZ", ""))
    return datetime.now(zone) if zone else datetime.now().astimezone()


@cache
def _zone(name: str) -> tzinfo | None:
    """None where the system keeps its zone in another way; then the present offset has to do."""
    with suppress(ValueError, OSError):
        if name:
            return ZoneInfo(name.removeprefix(":"))
        with ZONE_FILE.open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    return None
