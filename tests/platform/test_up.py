import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fl_server.platform import ports
from fl_server.platform.lock import HomeLock

ROOT = Path(__file__).resolve().parents[2]


def start(home: Path, port: int, command: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "CONSTELLATION_HOME": str(home),
        "CONSTELLATION_BIND": f"127.0.0.1:{port}",
        "CONSTELLATION_ENGINE_PORT": str(ports.free()),
    }
    return subprocess.run(
        [sys.executable, "manage.py", *command.split()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["up", "demo --once"])
def test_a_second_platform_in_one_home_is_refused_in_one_sentence(tmp_path: Path, command: str) -> None:
    with HomeLock(tmp_path):
        refused = start(tmp_path, ports.free(), command)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Constellation already runs in {tmp_path} (process {os.getpid()}); "
        "stop it first, or set CONSTELLATION_HOME to another folder.\n"
    )


def test_a_busy_port_ends_it_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        refused = start(tmp_path, port, "up")
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        f"Port {port} on 127.0.0.1 is used by another program; set CONSTELLATION_BIND"
    )
    assert refused.stderr.count("\n") == 1
    assert list((tmp_path / "logs").iterdir()) == []


def test_settings_that_contradict_each_other_end_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSTELLATION_TLS_CERT", str(tmp_path / "missing.pem"))
    refused = start(tmp_path, ports.free(), "up")
    assert refused.returncode == 1
    assert "constellation.E002" in refused.stderr
    assert list((tmp_path / "logs").iterdir()) == []
