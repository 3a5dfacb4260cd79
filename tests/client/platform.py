"""A whole platform for a test: the real web application with TLS on a free port, in a thread."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from rest_framework.throttling import ScopedRateThrottle

from fl_server import pki, roles
from fl_server.services import enrolment
from tests.server.world import person
from tests.waiting import until

DEADLINE = 15.0  # seconds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Platform:
    url: str
    admin: Any
    owner: Any

    def code(self, **options: Any) -> str:
        return enrolment.create_code(self.admin, owner=self.owner, label="test", **options)[1]


class Web:
    """uvicorn in a thread; `stop` closes every socket."""

    def __init__(self, port: int, application: Any, tls: bool = True) -> None:
        certificate, key = pki.server_certificate()
        secure = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)} if tls else {}
        config = uvicorn.Config(
            application,
            host="127.0.0.1",
            port=port,
            lifespan="off",
            log_config=None,
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
            **secure,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until(lambda: self.server.started, "the web server started")

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(DEADLINE)


@pytest.fixture
def platform(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    from constellation_web.asgi import application

    # Every machine of every test comes from the same address.
    monkeypatch.setitem(ScopedRateThrottle.THROTTLE_RATES, "enrolment", "10000/min")
    port = free_port()
    settings.PUBLIC_URL = f"https://127.0.0.1:{port}"
    web = Web(port, application)
    yield Platform(settings.PUBLIC_URL, person("ada", roles.ADMIN), person("otto", roles.OWNER))
    web.stop()


def command(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    """The client as an employee starts it."""
    environment = {**os.environ, "CONSTELLATION_CLIENT_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-m", "fl_client", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: "subprocess.Popen[str]", seconds: float = 30.0) -> tuple[int, str]:
    """Exit code and everything that it said."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {seconds:.0f} s: {out}{err}") from None
    return process.returncode, out + err
