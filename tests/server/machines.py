"""Machines as the client makes them, for tests of what the server does with them."""

import base64
import json
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.test import Client

from fl_client.home import Home
from fl_client.identity import Identity
from fl_server.consumers import DeviceConsumer
from fl_server.device_messages import Hardware
from fl_server.models import Device
from fl_server.services import enrolment
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


def secret_of(text: str) -> str:
    packed = text.removeprefix("C1-")
    return json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))["s"]


def code_for(owner: Any, by: Any, **options: Any) -> str:
    """The secret of a fresh code."""
    _, text = enrolment.create_code(by, owner=owner, label="test", **options)
    return secret_of(text)


def in_loop(scenario: Any) -> Any:
    """Runs a test's coroutine; database calls inside it run on the test's own thread."""
    return async_to_sync(scenario)()
