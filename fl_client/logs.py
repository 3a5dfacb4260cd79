"""The agent's log: a small file of the home beside what is written to the terminal."""

import json
import logging
import os
import re
from collections import deque
from logging.handlers import RotatingFileHandler

from fl_client import home as files
from fl_client.home import Home

BYTES = 2_000_000  # of each of the two files
LINES_MOST = 200
LINE_MOST = 500  # characters
BYTES_MOST = 48_000  # of all lines as JSON; a socket takes messages of 64 KB
FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
CHATTY = ("httpx", "httpcore", "websockets", "uvicorn")
HIDDEN = "[hidden]"

PEM_BEGIN, PEM_END = re.compile("-----BEGIN [A-Z ]+-----"), re.compile("-----END [A-Z ]+-----")
SECRETS = (
    re.compile(r"\bC1-[A-Za-z0-9_-]{8,}"),
    re.compile(r"(?i)(?<=bearer )\S+"),
    # A name that speaks of a secret, and what is given to it.
    re.compile(
        r"(?i)(?<![a-z])((?:[a-z_-]*(?:token|secret|password|signature|nonce|certificate|cookie)|key)"
        r"[\"']?\s*[=:]\s*)[\"']?[^\s\"',;)}\]]+"
    ),
    # Long runs of base64 or hexadecimal digits: keys, signatures, digests.
    re.compile(r"(?<![A-Za-z0-9+/_=-])(?=[A-Za-z+/_=-]*[0-9])[A-Za-z0-9+/_-]{40,}={0,2}"),
)


class PrivateFile(RotatingFileHandler):
    """Rotates by size, readable by the owner alone."""

    def _open(self):  # type: ignore[no-untyped-def]
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, self.mode, encoding=self.encoding)


def install(home: Home, verbose: bool = False) -> None:
    """Log to the terminal and to the home."""
    home.ensure()
    file = PrivateFile(home.file(files.LOG), maxBytes=BYTES, backupCount=1, encoding="utf-8", delay=True)
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format=FORMAT, handlers=[logging.StreamHandler(), file])
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def tail(home: Home, lines: int = LINES_MOST) -> list[str]:
    """The last lines, without anything secret, for the platform's request."""
    kept: deque[str] = deque(maxlen=max(1, min(lines, LINES_MOST)))
    for name in (f"{files.LOG}.1", files.LOG):
        data = home.read(name)
        if data is not None:
            kept.extend(redacted(data.decode("utf-8", "replace")))
    return _newest([line[:LINE_MOST] for line in kept])


def _newest(lines: list[str]) -> list[str]:
    """As many of the last ones as one message holds."""
    room = BYTES_MOST
    for count, line in enumerate(reversed(lines)):
        room -= len(json.dumps(line)) + 2
        if room < 0:
            return lines[len(lines) - count :]
    return lines


def redacted(text: str) -> list[str]:
    """Line by line, since a key spans many."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside or PEM_BEGIN.search(line):
            if not inside:
                lines.append(PEM_BEGIN.split(line)[0] + HIDDEN)
            inside = not PEM_END.search(line)
            continue
        lines.append(_without_secrets(line))
    return lines


def _without_secrets(line: str) -> str:
    for pattern in SECRETS:
        line = pattern.sub(lambda found: (found[1] if found.re.groups else "") + HIDDEN, line)
    return line
