"""Machines as the client makes them, for tests of what the server does with them."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.test import Client

from fl_client.home import Home
from fl_client.identity import Identity
from fl_server import roles
from fl_server.consumers import DeviceConsumer
from fl_server.device_messages import Hardware
from fl_server.models import Device
from fl_server.services import enrolment
from tests.server.world import person
from tests.sockets import Socket

HARDWARE = {"cores": 4, "ram_bytes": 8_000_000_000, "gpus": []}
HELLO = {
    "type": "hello",
    "version": "0.1.0",
    "platform": "Linux",
    "hardware": HARDWARE,
    "decision": {"allowed": True, "reason": ""},
}
TELEMETRY = {
    "type": "telemetry",
    "cpu": 3.5,
    "ram_free_bytes": 4_000_000_000,
    "gpus": [],
    "decision": {"allowed": True, "reason": ""},
}


class Machine:
    """Two keys and, once joined, a device."""

    def __init__(self, folder: Path, name: str = "desk") -> None:
        self.name = name
        self.identity_folder = folder
        self.identity = Identity.load_or_create(Home(folder / name))
        self.device: Device | None = None

    def request(self) -> dict[str, str]:
        csr = self.identity.csr()
        return {
            "csr": csr.public_bytes(serialization.Encoding.PEM).decode(),
            "node_key": self.identity.node_public_pem(),
            "node_proof": self.identity.node_proof(csr),
        }

    def join(self, secret: str, machine_id: str = "m-1", **changes: str) -> Device:
        machine = enrolment.Machine(self.name, Hardware(**HARDWARE), "Linux", "0.1.0", machine_id)
        joined = enrolment.join(secret, **(self.request() | changes), machine=machine)
        self.identity.certificate = x509.load_pem_x509_certificate(joined.certificate.encode())
        self.device = joined.device
        return joined.device

    def headers(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        return self.identity.sign(method, path, body)

    def call(self, method: str, path: str, headers: dict[str, str] | None = None) -> Any:
        return Client().generic(method, path, headers=headers or self.headers(method, path))

    def socket(self, headers: dict[str, str] | None = None) -> Socket:
        signed = self.headers("GET", "/ws/device/") if headers is None else headers
        return Socket(DeviceConsumer.as_asgi(), "/ws/device/", signed)

    async def opened(self) -> Socket:
        socket = self.socket()
        await socket.open()
        return socket

    async def welcomed(self) -> Socket:
        socket = await self.opened()
        assert (await socket.hear())["type"] == "welcome"
        return socket

    async def introduced(self) -> Socket:
        """Welcomed, and hello said."""
        socket = await self.welcomed()
        await socket.say(HELLO)
        return socket


def secret_of(text: str) -> str:
    packed = text.removeprefix("C1-")
    return json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))["s"]


def code_for(owner: Any, by: Any, **options: Any) -> str:
    """The secret of a fresh code."""
    _, text = enrolment.create_code(by, owner=owner, label="test", **options)
    return secret_of(text)


def joined(folder: Path) -> Machine:
    """Otto's machine, which an admin's code approved."""
    made = Machine(folder)
    made.join(code_for(person("otto", roles.OWNER), person("ada", roles.ADMIN)))
    return made


@pytest.fixture
def machine(transactional_db: None, tmp_path: Path) -> Machine:
    return joined(tmp_path)


def presence() -> str:
    return Device.objects.get().presence.value


async def presence_becomes(wanted: str) -> None:
    """Wait for what a socket does to the database."""
    look = database_sync_to_async(presence)
    for _ in range(100):
        if await look() == wanted:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"presence is {await look()}, not {wanted}")


def in_loop(scenario: Any) -> Any:
    """Runs a test's coroutine; database calls inside it run on the test's own thread."""
    return async_to_sync(scenario)()
