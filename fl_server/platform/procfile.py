import re
import shlex
from pathlib import Path

from fl_server.platform.errors import PlatformError

LINE = re.compile(r"^([A-Za-z0-9_-]+):\s*(\S.*)$")


def parse(text: str) -> dict[str, list[str]]:
    """The processes of a Procfile in their order: name → command and arguments."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = LINE.match(stripped)
        if not match:
            raise PlatformError(f"Line {number} of the Procfile is {stripped!r}; it must be `name: command`.")
        name, command = match.groups()
        if name in found:
            raise PlatformError(f"Line {number} of the Procfile names {name} a second time.")
        try:
            found[name] = shlex.split(command)
        except ValueError as exc:
            raise PlatformError(f"Line {number} of the Procfile cannot be read: {exc}.") from exc
    return found


def read(path: Path) -> dict[str, list[str]]:
    return parse(path.read_text())
