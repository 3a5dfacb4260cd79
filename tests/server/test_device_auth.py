import base64
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fl_server import device_auth, pki
from fl_server.exceptions import NotAuthenticated
from fl_server.models import Device
from fl_server.services import devices, enrolment
from tests.server.machines import Machine, joined

pytestmark = [pytest.mark.services, pytest.mark.django_db]
PATH = "/api/v1/device/me"


@pytest.fixture
def machine(db: None, tmp_path: Path) -> Machine:
    return joined(tmp_path)


def refusal(headers: dict[str, str], *, body: bytes = b"", now: float | None = None) -> str:
    with pytest.raises(NotAuthenticated) as refused:
        device_auth.verify("GET", PATH, body, headers, now)
    return refused.value.code


def test_a_signed_request_names_its_device(machine: Machine) -> None:
    assert device_auth.verify("GET", PATH, b"", machine.headers("GET", PATH)) == machine.device


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", PATH, b""), ("GET", PATH + "?x=1", b""), ("GET", PATH, b"{}")],
    ids=["method", "path", "body"],
)
def test_a_signature_holds_for_one_method_path_and_body(machine: Machine, method, path, body) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        device_auth.verify(method, path, body, machine.headers("GET", PATH))
    assert refused.value.code == "signature-bad"


@pytest.mark.parametrize(
    "name", [device_auth.TIME, device_auth.NONCE, device_auth.SIGNATURE, device_auth.CERTIFICATE]
)
def test_a_request_without_one_of_the_headers_is_refused(machine: Machine, name: str) -> None:
    headers = machine.headers("GET", PATH)
    del headers[name]
    assert refusal(headers) == "signature-missing"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (device_auth.TIME, "1e9", "signature-bad"),
        (device_auth.TIME, "-5", "signature-bad"),
        (device_auth.TIME, "٣٣٣", "signature-bad"),
        (device_auth.NONCE, "short", "signature-bad"),
        (device_auth.NONCE, "x" * 65, "signature-bad"),
        (device_auth.NONCE, "a-nonce-with:colons", "signature-bad"),
        (device_auth.SIGNATURE, "%%%", "signature-bad"),
        (device_auth.SIGNATURE, base64.b64encode(b"x" * 70).decode(), "signature-bad"),
        (device_auth.CERTIFICATE, "%%%", "certificate-untrusted"),
        (device_auth.CERTIFICATE, base64.b64encode(b"no certificate").decode(), "certificate-untrusted"),
    ],
)
def test_malformed_headers_are_refused_not_crashed_on(machine: Machine, name, value, code: str) -> None:
    assert refusal(machine.headers("GET", PATH) | {name: value}) == code


def test_the_same_signed_request_counts_once(machine: Machine) -> None:
    headers = machine.headers("GET", PATH)
    device_auth.verify("GET", PATH, b"", headers)
    assert refusal(headers) == "replay"


@pytest.mark.parametrize("off", [301, -301])
def test_a_clock_that_is_off_is_told_the_servers_time(machine: Machine, off: int) -> None:
    now = time.time()
    machine.identity.clock.offset = off
    with pytest.raises(NotAuthenticated) as refused:
        device_auth.verify("GET", PATH, b"", machine.headers("GET", PATH), now)
    assert refused.value.code == "clock-skew"
    assert refused.value.details["server_time"] == now


def test_a_nonce_is_remembered_longer_than_its_signature_can_be_valid() -> None:
    assert device_auth.NONCE_LIFE > 2 * device_auth.CLOCK_TOLERANCE


def test_an_expired_certificate_is_refused(machine: Machine) -> None:
    later = time.time() + timedelta(days=91).total_seconds()
    machine.identity.clock.offset = later - time.time()
    assert refusal(machine.headers("GET", PATH), now=later) == "certificate-expired"


def test_a_certificate_of_another_authority_is_refused(machine: Machine, tmp_path: Path, settings) -> None:
    ours = settings.KEYS_DIR
    settings.KEYS_DIR = tmp_path / "other"
    settings.KEYS_DIR.mkdir()
    key = machine.identity.identity_key.public_key()
    machine.identity.certificate = pki.issue_device_certificate(machine.device.pk, key)
    settings.KEYS_DIR = ours
    assert refusal(machine.headers("GET", PATH)) == "certificate-untrusted"


def test_a_stolen_certificate_without_its_key_is_worth_nothing(machine: Machine) -> None:
    machine.identity.identity_key = ec.generate_private_key(ec.SECP256R1())
    assert refusal(machine.headers("GET", PATH)) == "signature-bad"


def test_revoked_and_forgotten_devices_are_told_so(machine: Machine) -> None:
    devices.revoke(machine.device, None, "left")
    assert refusal(machine.headers("GET", PATH)) == "device-revoked"
    Device.objects.all().delete()
    assert refusal(machine.headers("GET", PATH)) == "device-unknown"


def test_a_renewed_certificate_counts_from_its_first_use_and_then_replaces_the_old(
    machine: Machine, monkeypatch
) -> None:
    old = machine.identity.certificate
    monkeypatch.setattr(pki, "DEVICE_LIFE", pki.DEVICE_LIFE + timedelta(days=1))
    new = x509.load_pem_x509_certificate(enrolment.renew(machine.device).encode())
    device_auth.verify("GET", PATH, b"", machine.headers("GET", PATH))
    machine.identity.certificate = new
    device_auth.verify("GET", PATH, b"", machine.headers("GET", PATH))
    assert Device.objects.get().certificate_serial == format(new.serial_number, "x")
    machine.identity.certificate = old
    assert refusal(machine.headers("GET", PATH)) == "certificate-untrusted"


def test_a_certificate_over_another_key_for_a_known_device_is_refused(machine: Machine) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    later = pki.issue_device_certificate(machine.device.pk, other.public_key())
    machine.identity.identity_key, machine.identity.certificate = other, later
    assert refusal(machine.headers("GET", PATH)) == "certificate-untrusted"


def test_verification_is_cheap(machine: Machine) -> None:
    signed = [machine.headers("GET", PATH) for _ in range(100)]
    started = time.thread_time()
    for headers in signed:
        device_auth.verify("GET", PATH, b"", headers)
    assert (time.thread_time() - started) / 100 < 0.01


def test_the_device_reads_its_standing_and_leaves_with_signed_requests(machine: Machine) -> None:
    answer = machine.call("GET", PATH)
    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["status"]) == ("desk", "approved")
    assert machine.call("POST", "/api/v1/device/leave").status_code == 204
    assert Device.objects.get().status == Device.Status.REVOKED
    gone = machine.call("GET", PATH)
    assert gone.status_code == 401
    assert gone.json()["error"]["code"] == "device-revoked"


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", "/api/v1/device/leave")])
def test_unsigned_requests_are_refused(machine: Machine, method: str, path: str) -> None:
    answer = machine.call(method, path, {"x-nothing": "1"})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "signature-missing"
    assert Device.objects.get().status == Device.Status.APPROVED


def test_client_and_server_sign_the_same_text(machine: Machine) -> None:
    headers = machine.headers("POST", "/x", b"body")
    text = device_auth.signed_text(
        "POST", "/x", b"body", headers[device_auth.TIME], headers[device_auth.NONCE]
    )
    key = machine.identity.identity_key.public_key()
    key.verify(base64.b64decode(headers[device_auth.SIGNATURE]), text, ec.ECDSA(hashes.SHA256()))
    assert serialization.load_pem_public_key(machine.device.identity_key.encode()) == key
