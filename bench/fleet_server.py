"""Redis, web, worker and beat of one platform in an empty home, and what only its database can give."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import ROOT, Failed, Processes, environment, free_ports, is_open

START_SECONDS = 120.0
ROLES = ("redis", "web", "worker", "beat")
CELERY = [sys.executable, "-m", "celery", "-A", "constellation_web"]
COMMANDS = {
    "redis": [sys.executable, "manage.py", "redis"],
    "web": [sys.executable, "manage.py", "web"],
    "worker": [*CELERY, "worker", "-Q", "control", "--concurrency", "2", "--without-gossip"],
    "beat": [*CELERY, "beat", "-l", "warning"],
}


@dataclass(frozen=True)
class Machine:
    """One simulated machine: who it is, as the client's own identity, and the device that it became."""

    identity: Any
    device: str


class Server:
    """The engine is left out: devices that only wait have nothing to do with it."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.port, engine_port = free_ports(2)
        self._home = folder / "home"
        self._processes = processes
        self._variables = environment(
            CONSTELLATION_HOME=str(self._home),
            CONSTELLATION_BIND=f"127.0.0.1:{self.port}",
            CONSTELLATION_ENGINE_PORT=str(engine_port),
            DJANGO_SETTINGS_MODULE="constellation_web.settings",
        )

    def prepare(self) -> None:
        """Make the home, and let this process use its database as the server does."""
        command = [sys.executable, "manage.py", "setup"]
        done = subprocess.run(
            command, cwd=ROOT, env=self._variables, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise Failed(f"manage.py setup ended with status {done.returncode}:\n{done.stderr}")
        os.environ.update(self._variables)
        import django

        django.setup()

    def start(self) -> None:
        for role in ROLES:
            self._processes.start(role, role, COMMANDS[role], self._variables)
            if role == "redis":
                self._processes.wait_until(
                    (self._home / "redis" / "redis.sock").exists, START_SECONDS, "The start of Redis"
                )
        self._processes.wait_until(lambda: is_open(self.port), START_SECONDS, "The start of web")

    def enrol(self, count: int) -> list[Machine]:
        """So many machines, each with keys of its own, join with one code through the service."""
        from django.db import transaction

        from fl_server.services import enrolment

        owner = self._person("otto", "owner")
        admin = self._person("ada", "admin")
        _, text = enrolment.create_code(admin, owner=owner, label="bench", max_uses=count)
        with transaction.atomic():
            return [_join(text, index) for index in range(count)]

    def cookie(self) -> str:
        """The session of an admin who looks at the fleet."""
        from django.conf import settings
        from django.test import Client

        client = Client()
        client.force_login(self._person("ada", "admin"))
        return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"

    def presences(self) -> dict[str, int]:
        from fl_server.models import Device
        from fl_server.selectors import devices

        return {name: number for name, number in devices.counts(Device.objects.all()).items() if number}

    def _person(self, name: str, role: str) -> Any:
        from django.contrib.auth import get_user_model
        from django.contrib.auth.models import Group

        user, _ = get_user_model().objects.get_or_create(username=name)
        user.groups.add(Group.objects.get(name=role))
        return user


def _join(text: str, index: int) -> Machine:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from fl_client import enrol
    from fl_client.identity import Identity
    from fl_server.device_messages import Hardware
    from fl_server.services import devices, enrolment

    identity = Identity(ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()))
    csr = identity.csr()
    machine = enrolment.Machine(
        f"desk-{index:04}", Hardware(cores=8, ram_bytes=16 * 10**9), "Linux", "0.1.0", f"bench-{index}"
    )
    joined = enrolment.join(
        enrol.parse(text).secret,
        csr=csr.public_bytes(serialization.Encoding.PEM).decode(),
        node_key=identity.node_public_pem(),
        node_proof=identity.node_proof(csr),
        machine=machine,
    )
    identity.certificate = x509.load_pem_x509_certificate(joined.certificate.encode())
    # What the engine would answer; without a node id the tick would ask it again and again.
    devices.registered(joined.device, index + 1)
    return Machine(identity, str(joined.device.pk))


def close() -> None:
    """Let go of what this process holds of the server, before its Redis ends."""
    from django.db import connection

    from fl_server import bus

    bus.close()
    connection.close()
