"""The platform's own certificate authority: vouches for the server to devices and for devices to the server.

Files below KEYS_DIR, all 0600: `ca.key`, `ca.pem`, `server.key`, `server.pem`. Several processes may need
them at the same moment on a fresh home, so every file is made beside its place and linked there: of several,
one wins and all read the winner's.
"""

import ipaddress
import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

CA_LIFE = timedelta(days=20 * 365)
# Some clients refuse server certificates that live longer than this.
SERVER_LIFE = timedelta(days=397)
SERVER_RENEW_BEFORE = timedelta(days=30)
DEVICE_LIFE = timedelta(days=90)
# A device whose clock is a little behind must still find its certificate valid.
BACKDATE = timedelta(minutes=5)


def ensure() -> None:
    """Make the authority and the server's certificate unless they are there."""
    server_certificate()


def ca_path() -> Path:
    ca_certificate()
    return settings.KEYS_DIR / "ca.pem"


def ca_pem() -> str:
    return ca_path().read_text()


def fingerprint() -> str:
    """SHA-256 of the authority's certificate (DER), in hexadecimal; enrolment codes carry it."""
    return ca_certificate().fingerprint(hashes.SHA256()).hex()


def ca_certificate() -> x509.Certificate:
    path = settings.KEYS_DIR / "ca.pem"
    if not path.exists():
        _create(path, _pem(_ca_certificate(_key("ca.key"))))
    return _certificate(path.read_bytes())


def server_certificate() -> tuple[Path, Path]:
    """Certificate and key for the public names and for loopback; renewed near its end or for new names."""
    key = _key("server.key")
    path = settings.KEYS_DIR / "server.pem"
    if not path.exists() or not _still_good(_certificate(path.read_bytes())):
        _replace(path, _pem(_server_certificate(key)))
    return path, settings.KEYS_DIR / "server.key"


def issue_device_certificate(device_id: UUID, public_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
    """A 90-day client certificate whose common name is the device's id."""
    ca, ca_key = ca_certificate(), _key("ca.key")
    builder = _builder(str(device_id), public_key, DEVICE_LIFE, ca, ca_key.public_key())
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def is_ours(certificate: x509.Certificate) -> bool:
    """Whether our authority issued this as a device's certificate. Says nothing about its validity period."""
    try:
        certificate.verify_directly_issued_by(ca_certificate())
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def server_names() -> list[str]:
    """Every name under which devices or the platform's own processes reach the server."""
    public = urlsplit(settings.PUBLIC_URL).hostname
    names = ["localhost", "127.0.0.1", "::1", public, settings.BIND_HOST, *settings.SERVER_NAMES]
    unspecified = {"0.0.0.0", "::"}  # noqa: S104  compared with, not bound to
    return list(dict.fromkeys(name for name in names if name and name not in unspecified))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    common_name: str,
    public_key: ec.EllipticCurvePublicKey,
    life: timedelta,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    is_ca = issuer is None
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # A name of its own for each authority keeps two platforms apart in a trust store.
    name = f"Constellation {secrets.token_hex(4)}"
    return _builder(name, key.public_key(), CA_LIFE, None, key.public_key()).sign(key, hashes.SHA256())


def _server_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    ca, ca_key = ca_certificate(), _key("ca.key")
    builder = _builder("Constellation server", key.public_key(), SERVER_LIFE, ca, ca_key.public_key())
    names = x509.SubjectAlternativeName([_general_name(name) for name in server_names()])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        builder.add_extension(names, critical=False)
        .add_extension(usage, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _still_good(certificate: x509.Certificate) -> bool:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        certificate.not_valid_after_utc - datetime.now(UTC) > SERVER_RENEW_BEFORE
        and {_general_name(name) for name in server_names()} == set(names)
        and certificate.public_key() == _key("server.key").public_key()
        and certificate.issuer == ca_certificate().subject
    )


def _key(name: str) -> ec.EllipticCurvePrivateKey:
    path = settings.KEYS_DIR / name
    if not path.exists():
        fresh = ec.generate_private_key(ec.SECP256R1())
        pem = fresh.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _create(path, pem)
    return _parse_key(path.read_bytes())


@lru_cache(maxsize=8)
def _parse_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"A key below {settings.KEYS_DIR} is not one that this platform made.")
    return key


@lru_cache(maxsize=8)
def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _draft(path: Path, data: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    return draft


def _create(path: Path, data: bytes) -> None:
    """Put `data` at `path` unless somebody else did first."""
    draft = _draft(path, data)
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()


def _replace(path: Path, data: bytes) -> None:
    os.replace(_draft(path, data), path)
