"""The whole platform as a company starts it: `manage.py up`, people who log in, employees' client programs.

Everything started here carries HOME=<the platform's folder>, which every process of ours passes on: that is
how the tests find what is left of it.
"""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from fl_server.platform import ports
from tests.e2e.api import ADMIN, PASSWORD, RESEARCHER, Api, until

DESKS = ("desk-1", "desk-2")  # the clients of the shared platform
ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS = 90.0
DOWN_SECONDS = 30.0
CALL_SECONDS = 40.0
PEOPLE = f"""
from django.contrib.auth.models import Group, User
for name, role in (({ADMIN!r}, "admin"), ({RESEARCHER!r}, "researcher")):
    User.objects.create_user(name, password={PASSWORD!r}).groups.add(Group.objects.get(name=role))
"""


def marked(folder: Path) -> list[psutil.Process]:
    """Every living process that was started with `folder` as its HOME, however it was orphaned."""
    mark = f"HOME={folder}".encode()
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            # Redis writes its title over its environment; the title names its socket below the folder.
            ours = mark in environment or any(str(folder) in part for part in process.cmdline())
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


class Client:
    """One employee's machine: the client program with a folder of its own."""

    def __init__(self, name: str, platform: "Platform", code_folder: Path = ROOT) -> None:
        self.name = name
        self.folder = platform.folder / name
        self.log = platform.folder / f"{name}.log"
        self.code_folder = code_folder
        self.environment = base_environment(platform.folder) | {
            "CONSTELLATION_CLIENT_HOME": str(self.folder),
            "CONSTELLATION_THREADS": "1",
            "PYTHONPATH": str(code_folder),
        }
        self.agent: subprocess.Popen[bytes] | None = None

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "fl_client", *arguments],
            env=self.environment,
            cwd=self.code_folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, output and complaints of one command."""
        process = self.begin(*arguments)
        output, complaints = process.communicate(timeout=CALL_SECONDS)
        return process.returncode, output, complaints

    def enrol(self, code: str) -> None:
        status, _, complaints = self.call("enrol", code, "--name", self.name)
        assert status == 0, complaints

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "fl_client", "run"],
                env=self.environment,
                cwd=self.code_folder,
                stdout=log,
                stderr=log,
            )

    def worker(self) -> psutil.Process | None:
        assert self.agent is not None
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.agent.pid).children():
                if "fl_client.worker" in child.cmdline():
                    return child
        return None

    def kill(self) -> None:
        """As by a power cut: the agent and its worker at once."""
        worker = self.worker()
        assert self.agent is not None
        kill([psutil.Process(self.agent.pid), *([worker] if worker else [])])
        self.agent.wait(5)

    def terminate(self) -> None:
        if self.agent is not None:
            self.agent.terminate()

    def stop(self) -> None:
        self.terminate()
        if self.agent is not None:
            self.agent.wait(DOWN_SECONDS)


class Platform:
    def __init__(self, folder: Path, host: str = "127.0.0.1", **settings: str) -> None:
        self.folder, self.host = folder, host
        self.home = folder / "home"
        self.port, self.engine_port = ports.free(), ports.free()
        scheme = "http" if host == "127.0.0.1" else "https"
        self.url = f"{scheme}://{host}:{self.port}"
        self.clients: list[Client] = []
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.environment = base_environment(folder) | {
            "CONSTELLATION_HOME": str(self.home),
            "CONSTELLATION_BIND": f"{host}:{self.port}",
            "CONSTELLATION_ENGINE_PORT": str(self.engine_port),
            **settings,
        }

    def start(self) -> None:
        with (self.folder / "up.log").open("ab") as log:
            before = log.tell()
            started = subprocess.Popen(
                [sys.executable, "manage.py", "up"], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        self.supervisor = started
        until(lambda: "is ready at" in self.said(before) or started.poll() is not None, "up", UP_SECONDS)
        assert started.poll() is None, self.said(before)

    def said(self, since: int = 0) -> str:
        return (self.folder / "up.log").read_bytes()[since:].decode()

    def admit_people(self) -> None:
        command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", PEOPLE]
        subprocess.run(command, cwd=ROOT, env=self.environment, check=True, timeout=CALL_SECONDS)
        self.set_policy({})

    def set_policy(self, rules: dict[str, Any]) -> None:
        """The company's rules. None suit tests: a machine that is busy with them trains all the same."""
        self.login(ADMIN).http.put("/api/v1/policy", json=rules).raise_for_status()

    def trust(self) -> ssl.SSLContext | bool:
        secure = self.url.startswith("https")
        return ssl.create_default_context(cafile=str(self.home / "keys" / "ca.pem")) if secure else True

    def login(self, user: str) -> Api:
        return Api(self.url, self.trust(), user)

    def client(self, name: str, code_folder: Path = ROOT) -> Client:
        made = Client(name, self, code_folder)
        self.clients.append(made)
        return made

    def services(self, program: str) -> list[psutil.Process]:
        """The living processes of the server that run `program`."""
        return [p for p in self.processes() if any(Path(part).name == program for part in _command(p))]

    def processes(self) -> list[psutil.Process]:
        """All that the supervisor started, itself included."""
        return [
            p for p in marked(self.folder) if not any(part.startswith("fl_client") for part in _command(p))
        ]

    def stop(self) -> None:
        """End everything, politely first; what outlives that is killed, so that no test harms the next."""
        for client in self.clients:
            client.terminate()
        for client in self.clients:
            with suppress(subprocess.TimeoutExpired):
                client.stop()
        if self.supervisor is not None:
            self.supervisor.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.supervisor.wait(DOWN_SECONDS)
        kill(marked(self.folder))

    def online(self, api: Api, *names: str, seconds: float = 20.0) -> None:
        def idle() -> bool:
            return set(names) <= {row["name"] for row in api.rows("devices", presence="idle")}

        until(idle, f"{', '.join(names)} are idle", seconds)


def base_environment(folder: Path) -> dict[str, str]:
    """Nothing of the test run's own settings reaches the platform; HOME marks its processes."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(folder), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


@contextmanager
def running(folder: Path, *names: str, **settings: str) -> Iterator[Platform]:
    """A platform with its people and with enrolled clients of these names, all online."""
    platform = Platform(folder, **settings)
    try:
        platform.start()
        platform.admit_people()
        join(platform, *names)
        yield platform
    finally:
        platform.stop()


def join(platform: Platform, *names: str) -> None:
    admin = platform.login(ADMIN)
    code = admin.code(max_uses=max(1, len(names)))["code"] if names else ""
    clients = [platform.client(name) for name in names]
    joining = [client.begin("enrol", code, "--name", client.name) for client in clients]
    for client, process in zip(clients, joining, strict=True):
        _, complaints = process.communicate(timeout=CALL_SECONDS)
        assert process.returncode == 0, complaints
        client.start()
    platform.online(admin, *names)
