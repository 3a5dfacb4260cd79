"""Who is this device? Every request and socket handshake of a device carries its certificate and a signature.

The signature covers, joined by newlines: a fixed context, the method, the path with its query, the SHA-256
of the body in hexadecimal, the Unix time in whole seconds and a nonce. The checks run from the certificate
inwards, so that a stranger learns no more than that the certificate is not ours.
"""

import base64
import binascii
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.cache import cache
from django.http import HttpRequest

from fl_server import pki
from fl_server.exceptions import NotAuthenticated
from fl_server.models import Device

CONTEXT = "constellation-device-v1"
CERTIFICATE = "x-constellation-certificate"
TIME = "x-constellation-time"
NONCE = "x-constellation-nonce"
SIGNATURE = "x-constellation-signature"
CLOCK_TOLERANCE = 300  # seconds
# A nonce is remembered for longer than any signature that carries it can be valid.
NONCE_LIFE = 2 * CLOCK_TOLERANCE + 60
NONCE_FORM = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True)
class Proof:
    certificate: x509.Certificate
    time: str
    nonce: str
    signature: bytes


def verify_request(request: HttpRequest) -> Device:
    """The device that sent this request, or NotAuthenticated."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return verify(request.method or "", request.get_full_path(), request.body, headers)


def verify_scope(scope: Mapping[str, Any]) -> Device:
    """The device behind this WebSocket handshake, or NotAuthenticated."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    return verify("GET", f"{scope['path']}?{query}" if query else scope["path"], b"", headers)


def verify(
    method: str, path: str, body: bytes, headers: Mapping[str, str], now: float | None = None
) -> Device:
    now = time.time() if now is None else now
    proof = _read(headers)
    _check_certificate(proof.certificate, now)
    _check_signature(proof, method, path, body)
    _check_time(proof.time, now)
    device = _device(proof.certificate)
    if not cache.add(f"device-nonce:{device.pk}:{proof.nonce}", 1, NONCE_LIFE):
        raise NotAuthenticated("This signed request was already used once.", code="replay")
    return device


def signed_text(method: str, path: str, body: bytes, at: str, nonce: str) -> bytes:
    return "\n".join((CONTEXT, method, path, sha256(body).hexdigest(), at, nonce)).encode()


def _read(headers: Mapping[str, str]) -> Proof:
    missing = [name for name in (CERTIFICATE, TIME, NONCE, SIGNATURE) if not headers.get(name)]
    if missing:
        raise NotAuthenticated(
            f"The request is not signed: {', '.join(missing)} is missing.", code="signature-missing"
        )
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(headers[CERTIFICATE], validate=True))
    except (ValueError, binascii.Error) as exc:
        raise NotAuthenticated("The certificate cannot be read.", code="certificate-untrusted") from exc
    try:
        signature = base64.b64decode(headers[SIGNATURE], validate=True)
    except (ValueError, binascii.Error) as exc:
        raise NotAuthenticated("The signature cannot be read.", code="signature-bad") from exc
    at, nonce = headers[TIME], headers[NONCE]
    if not (at.isascii() and at.isdecimal() and len(at) <= 12 and NONCE_FORM.fullmatch(nonce)):
        raise NotAuthenticated("The time or the nonce of the signature is malformed.", code="signature-bad")
    return Proof(certificate, at, nonce, signature)


def _check_certificate(certificate: x509.Certificate, now: float) -> None:
    if not pki.is_ours(certificate):
        raise NotAuthenticated(
            "The certificate was not issued by this platform.", code="certificate-untrusted"
        )
    moment = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise NotAuthenticated(
            f"The certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}; enrol the device again.",
            code="certificate-expired",
        )


def _check_signature(proof: Proof, method: str, path: str, body: bytes) -> None:
    key = proof.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey), "our authority issues nothing else"
    try:
        key.verify(
            proof.signature,
            signed_text(method, path, body, proof.time, proof.nonce),
            ec.ECDSA(hashes.SHA256()),
        )
    except InvalidSignature as exc:
        raise NotAuthenticated("The signature does not match the request.", code="signature-bad") from exc


def _check_time(at: str, now: float) -> None:
    if abs(int(at) - now) > CLOCK_TOLERANCE:
        raise NotAuthenticated(
            f"The device's clock is {abs(int(at) - now):.0f} s off; at most {CLOCK_TOLERANCE} s are allowed.",
            code="clock-skew",
            server_time=now,
        )


def _device(certificate: x509.Certificate) -> Device:
    name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    device = Device.objects.filter(pk=UUID(str(name))).first()
    if device is None:
        raise NotAuthenticated("This platform no longer knows the device.", code="device-unknown")
    if device.status == Device.Status.REVOKED:
        raise NotAuthenticated("The device was revoked.", code="device-revoked")
    _check_current(device, certificate)
    return device


def _check_current(device: Device, certificate: x509.Certificate) -> None:
    """Only the device's newest certificate counts.

    A renewal takes effect when the device first shows it, not when it is issued: a reply that got lost on its
    way must not lock the device out.
    """
    serial = format(certificate.serial_number, "x")
    if serial == device.certificate_serial:
        return
    until = certificate.not_valid_after_utc
    if device.certificate_until is not None and until <= device.certificate_until:
        raise NotAuthenticated("The certificate was replaced by a newer one.", code="certificate-untrusted")
    Device.objects.filter(pk=device.pk, certificate_serial=device.certificate_serial).update(
        certificate_serial=serial, certificate_until=until
    )
    device.certificate_serial, device.certificate_until = serial, until
