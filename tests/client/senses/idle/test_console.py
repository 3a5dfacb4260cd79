import os
import time
from types import SimpleNamespace

import psutil
import pytest

from fl_client.policy.facts import Session
from fl_client.senses.idle import console
from fl_client.senses.idle.console import Console, Terminal
from fl_client.senses.idle.reading import Reading

NOW = 10_000.0


@pytest.mark.parametrize(
    ("terminals", "expected"),
    [
        ([], Reading(None, Session.NONE)),
        ([Terminal("pts/0", 9_990.0)], Reading(10.0, Session.NONE)),
        ([Terminal("tty1", 9_000.0)], Reading(1000.0, Session.ACTIVE)),
        ([Terminal("tty1", 9_000.0), Terminal("pts/3", 9_990.0)], Reading(10.0, Session.ACTIVE)),
        ([Terminal("ttys001", 9_990.0)], Reading(10.0, Session.NONE)),
        ([Terminal("pts/0", None)], Reading(None, Session.NONE)),
        ([Terminal("pts/0", 10_005.0)], Reading(0.0, Session.NONE)),
        # Somebody at a desktop may be typing elsewhere than in this terminal.
        ([Terminal(":0", None), Terminal("pts/0", 9_990.0)], Reading(None, Session.ACTIVE)),
        ([Terminal("console", 1.0)], Reading(None, Session.ACTIVE)),
    ],
)
def test_the_youngest_terminal_counts(terminals, expected):
    assert console.reading(terminals, NOW) == expected


def test_the_terminals_of_users_and_those_named_besides_are_looked_at(monkeypatch, tmp_path):
    (tmp_path / "pts").mkdir()
    for name, age in (("pts/1", 500), ("pts/2", 40), ("pts/3", 5)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (NOW - age, NOW))
    users = [
        SimpleNamespace(terminal="pts/1"),
        SimpleNamespace(terminal=None),
        SimpleNamespace(terminal="pts/9"),
    ]
    monkeypatch.setattr(console, "DEVICES", str(tmp_path))
    monkeypatch.setattr(psutil, "users", lambda: users)
    asked = Console(also=lambda: ("pts/2",), clock=lambda: NOW)
    assert asked.read() == Reading(40.0, Session.NONE), "pts/3 belongs to no log-in"


@pytest.mark.skipif(not os.path.isdir("/dev/pts"), reason="needs Linux's pseudo-terminals")
def test_a_real_terminal_notes_when_it_was_typed_at(monkeypatch):
    monkeypatch.setattr(psutil, "users", list)
    keyboard, terminal = os.openpty()
    try:
        name = os.ttyname(terminal).removeprefix("/dev/")
        asked = Console(also=lambda: (name,))
        os.utime(terminal, (time.time() - 500, time.time()))
        assert asked.read().idle_seconds >= 499
        os.write(keyboard, b"x\n")
        os.read(terminal, 10)
        assert asked.read().idle_seconds < 20, "the kernel rounds down to eight seconds"
    finally:
        os.close(keyboard)
        os.close(terminal)
