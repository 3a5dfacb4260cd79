"""How machines join: codes that people hand out, and what a machine does with one."""

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

from fl_server import client_version, events, kick, pki, roles
from fl_server import labels as device_labels
from fl_server.device_messages import Hardware
from fl_server.exceptions import Conflict, Gone, InvalidInput, NotAllowed, NotFound
from fl_server.models import Device, EnrolmentCode
from fl_server.services import audit

CODE_PREFIX = "C1-"
NODE_CONTEXT = b"constellation-node-v1\n"
# What an owner may hand out without an admin.
OWNER_MAX_USES = 5
MAX_USES = 10_000
MAX_VALIDITY = timedelta(days=365)
ASK_AGAIN = timedelta(hours=1)


@dataclass(frozen=True)
class Machine:
    """What a machine says about itself when it joins."""

    name: str
    hardware: Hardware
    platform: str = ""
    client_version: str = ""
    machine_id: str = ""


@dataclass(frozen=True)
class Joined:
    device: Device
    certificate: str


def create_code(
    by: Any,
    *,
    owner: Any,
    label: str,
    max_uses: int = 1,
    valid_for: timedelta = timedelta(days=7),
    approves: bool = True,
    labels: dict[str, str] | None = None,
) -> tuple[EnrolmentCode, str]:
    """A code and the text that a person pastes into the client. The text is shown once and not kept."""
    _check_may_create(by, owner, max_uses, approves, labels)
    device_labels.check_all(labels or {})
    if not 1 <= max_uses <= MAX_USES:
        raise InvalidInput(f"max_uses is {max_uses}; allowed are 1 to {MAX_USES}.", field="max_uses")
    if not timedelta(0) < valid_for <= MAX_VALIDITY:
        raise InvalidInput(
            f"valid_for is {valid_for}; allowed is up to {MAX_VALIDITY.days} days.", field="valid_for"
        )
    label = label.strip()
    if not 1 <= len(label) <= 80:
        raise InvalidInput(f"label has {len(label)} characters; allowed are 1 to 80.", field="label")
    secret = secrets.token_urlsafe(18)
    with transaction.atomic():
        code = EnrolmentCode.objects.create(
            label=label,
            secret_hash=_hash(secret),
            owner=owner,
            created_by=by,
            approves=approves,
            labels=labels or {},
            max_uses=max_uses,
            expires_at=timezone.now() + valid_for,
        )
        audit.record(by, "code.create", f"code:{code.pk}", owner=owner.get_username(), max_uses=max_uses)
    return code, code_text(secret)


def code_text(secret: str) -> str:
    """Address, secret and the authority's fingerprint in one URL-safe word."""
    parts = {"u": settings.PUBLIC_URL, "s": secret, "f": pki.fingerprint()}
    # A certificate of the company's own, or of its proxy, is checked against the machine's trust store.
    if settings.TLS_CERTIFICATE or settings.BEHIND_PROXY:
        parts["t"] = "system"
    packed = json.dumps(parts, separators=(",", ":")).encode()
    return CODE_PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def revoke_code(code: EnrolmentCode, by: Any) -> EnrolmentCode:
    """Nobody can join with it any more; devices that did stay."""
    if not (roles.is_admin(by) or code.owner_id == by.pk):
        raise NotAllowed("Only an admin or the code's owner may revoke it.")
    with transaction.atomic():
        now = timezone.now()
        if not EnrolmentCode.objects.filter(pk=code.pk, revoked_at__isnull=True).update(revoked_at=now):
            raise Conflict("The code is revoked already.")
        code.revoked_at = now
        audit.record(by, "code.revoke", f"code:{code.pk}")
    return code


def join(secret: str, *, csr: str, node_key: str, node_proof: str, machine: Machine) -> Joined:
    """Make a device out of a machine that holds a valid code and proves that it holds both private keys.

    A machine that asks again with the same identity within the hour, because the answer got lost, gets the
    same device and a fresh certificate; the code is not used a second time. Later that takes an open code.
    """
    code = EnrolmentCode.objects.select_related("owner").filter(secret_hash=_hash(secret)).first()
    if code is None:
        raise NotFound("This enrolment code does not exist.", code="code-unknown")
    client_version.check(machine.client_version)
    request, identity = _identity(csr)
    node_pem = _node_key(node_key, node_proof, request)
    known = Device.objects.filter(identity_key=_public_pem(identity)).first()
    if known is not None:
        return _joined_before(known, identity, code, node_pem)
    try:
        with transaction.atomic():
            _use(code)
            device = _create(code, _public_pem(identity), node_pem, machine)
            return Joined(device, _certify(device, identity))
    except IntegrityError as exc:
        raise Conflict("A device with one of these keys has joined already.", code="key-in-use") from exc


def renew(device: Device) -> str:
    """A new certificate over the same key. It counts from the moment the device first shows it."""
    key = serialization.load_pem_public_key(device.identity_key.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    certificate = pki.issue_device_certificate(device.pk, key)
    audit.record(
        None, "device.renew", f"device:{device.pk}", until=certificate.not_valid_after_utc.isoformat()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _check_may_create(
    by: Any, owner: Any, max_uses: int, approves: bool, labels: dict[str, str] | None
) -> None:
    if roles.is_admin(by):
        return
    if roles.OWNER not in roles.of(by) or owner.pk != by.pk:
        raise NotAllowed("Only admins make codes for others; an owner makes codes for the own machines.")
    if approves:
        raise NotAllowed("Devices of an owner's own code need an admin's approval: approves must be false.")
    if max_uses > OWNER_MAX_USES:
        raise NotAllowed(f"An owner's own code admits at most {OWNER_MAX_USES} machines.")
    if labels:
        raise NotAllowed("Labels decide which jobs and which rules a machine gets; only an admin gives them.")


def _use(code: EnrolmentCode) -> None:
    """Count one use, unless the code ended; the database decides who gets the last one."""
    now = timezone.now()
    open_codes = EnrolmentCode.objects.filter(
        pk=code.pk, revoked_at__isnull=True, expires_at__gt=now, uses__lt=F("max_uses")
    )
    if open_codes.update(uses=F("uses") + 1):
        return
    code.refresh_from_db()
    reasons = {
        "revoked": "was revoked",
        "expired": f"expired on {code.expires_at:%Y-%m-%d %H:%M} UTC",
        "used-up": f"has been used {code.uses} times, which is all it allows",
    }
    state = code.state if code.state in reasons else "used-up"
    raise Gone(f"This enrolment code {reasons[state]}. Ask for a new one.", code=f"code-{state}")


def _create(code: EnrolmentCode, identity_pem: str, node_pem: str, machine: Machine) -> Device:
    approved = Device.Status.APPROVED if code.approves else Device.Status.PENDING
    device = Device.objects.create(
        owner=code.owner,
        name=machine.name,
        status=approved,
        approved_at=timezone.now() if code.approves else None,
        labels=code.labels,
        identity_key=identity_pem,
        node_key=node_pem,
        machine_hash=_machine_hash(machine.machine_id),
        hardware=machine.hardware.model_dump(mode="json"),
        platform=machine.platform,
        client_version=machine.client_version,
    )
    audit.record(
        code.owner,
        "device.join",
        f"device:{device.pk}",
        code=code.pk,
        name=device.name,
        approved=code.approves,
    )
    events.device_changed(device.pk, device.owner_id, name=device.name, presence=device.presence)
    kick.tick()
    return device


def _joined_before(
    device: Device, identity: ec.EllipticCurvePublicKey, code: EnrolmentCode, node_pem: str
) -> Joined:
    if device.status == Device.Status.REVOKED:
        raise NotAllowed("This device was revoked. Enrol it again with new keys.", code="device-revoked")
    if device.node_key != node_pem or device.owner_id != code.owner_id:
        raise Conflict("A device with this identity has joined already.", code="key-in-use")
    with transaction.atomic():
        if code.revoked_at or timezone.now() - device.enrolled_at > ASK_AGAIN:
            _use(code)
        return Joined(device, _certify(device, identity))


def _certify(device: Device, identity: ec.EllipticCurvePublicKey) -> str:
    certificate = pki.issue_device_certificate(device.pk, identity)
    device.certificate_serial = format(certificate.serial_number, "x")
    device.certificate_until = certificate.not_valid_after_utc
    device.save(update_fields=["certificate_serial", "certificate_until"])
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _identity(csr: str) -> tuple[x509.CertificateSigningRequest, ec.EllipticCurvePublicKey]:
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        genuine = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise InvalidInput("csr is not a readable certificate signing request in PEM.", field="csr") from exc
    if not genuine:
        raise InvalidInput("csr is not signed by the key that it names.", field="csr")
    return request, _suitable(key, "csr")


def _node_key(pem: str, proof: str, request: x509.CertificateSigningRequest) -> str:
    try:
        key = _suitable(serialization.load_pem_public_key(pem.encode()), "node_key")
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise InvalidInput("node_key is not a readable public key in PEM.", field="node_key") from exc
    shown = request.public_bytes(serialization.Encoding.DER)
    try:
        key.verify(base64.b64decode(proof, validate=True), NODE_CONTEXT + shown, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature) as exc:
        raise InvalidInput(
            "node_proof is not node_key's signature over the request.", field="node_proof"
        ) from exc
    return _public_pem(key)


def _suitable(key: object, field: str) -> ec.EllipticCurvePublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise InvalidInput(f"{field} must be an elliptic-curve key on P-256.", field=field)


def _public_pem(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _machine_hash(machine_id: str) -> str:
    if not machine_id:
        return ""
    return salted_hmac("constellation.machine", machine_id, algorithm="sha256").hexdigest()
