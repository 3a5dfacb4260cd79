import json
import logging
import stat
from pathlib import Path

import pytest

from fl_client import home as files
from fl_client import logs
from fl_client.home import Home
from fl_server.device_messages import Logs


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_last_lines_come_across_both_files_and_fit_the_message(home: Home) -> None:
    home.write(f"{files.LOG}.1", b"".join(b"old %d\n" % number for number in range(300)))
    home.write(files.LOG, b"new 1\nnew 2 " + b"x, " * 1000 + b"\n")
    assert logs.tail(home, 3) == ["old 299", "new 1", ("new 2 " + "x, " * 1000)[:500]]
    assert len(logs.tail(home, 5000)) == 200
    assert Logs(type="logs", request=1, lines=logs.tail(home, 200))


def test_without_a_log_there_are_no_lines(home: Home) -> None:
    assert logs.tail(home) == []


def test_the_file_is_bounded_and_the_owners_alone(home: Home) -> None:
    handler = logs.PrivateFile(
        home.file(files.LOG), maxBytes=2_000, backupCount=1, encoding="utf-8", delay=True
    )
    record = logging.LogRecord("constellation", logging.INFO, __file__, 1, "%s", ("x" * 90,), None)
    for _ in range(100):
        handler.emit(record)
    handler.close()
    found = sorted(path.name for path in home.path.iterdir())
    assert found == [files.LOG, f"{files.LOG}.1"]
    for name in found:
        assert home.file(name).stat().st_size <= 2_000
        assert stat.S_IMODE(home.file(name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("joined with C1-eyJ1IjoiaHR0cHM6Ly8xMjc, fine", "joined with [hidden], fine"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [hidden]"),
        ('{"token": "s3cret", "run": 7}', '{"token": [hidden]", "run": 7}'),
        ("x-constellation-signature: MEUCIQ==", "x-constellation-signature: [hidden]"),
        ("password=hunter2 and on", "password=[hidden] and on"),
        ("page at /enter?key=17.abc.def", "page at /enter?key=[hidden]"),
        ("digest " + "0a" * 32 + " ok", "digest [hidden] ok"),
        ("round 3 of run 7, batch 12 of 60", "round 3 of run 7, batch 12 of 60"),
        ("the certificate was renewed", "the certificate was renewed"),
        ("monkey: fed", "monkey: fed"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_not(line: str, shown: str) -> None:
    assert logs.redacted(line) == [shown]


def test_a_key_that_spans_lines_is_hidden_as_a_whole() -> None:
    text = "before\nkey: -----BEGIN PRIVATE KEY-----\nMIGH\nAgEA\n-----END PRIVATE KEY-----\nafter"
    assert logs.redacted(text) == ["before", "key: [hidden]", "after"]
    assert logs.redacted("a\n-----BEGIN EC PRIVATE KEY-----\nMIGH\nnever ends") == ["a", "[hidden]"]
    # The middle of a key whose first line was cut off is hidden by its length.
    assert logs.redacted("M1GH" * 16) == ["[hidden]"]


def test_the_lines_fit_into_one_message_of_the_socket(home):
    logged = "\n".join(f"{number:04d} " + "ü" * 300 for number in range(300))
    home.write(files.LOG, logged.encode())
    lines = logs.tail(home, 200)
    assert len(json.dumps(lines)) <= 48_000
    assert lines[-1].startswith("0299")
    assert len(lines) > 20
