"""Who this machine is: two keys that are made here and never leave, and a certificate over the first.

The identity key signs every request to the platform. The node key is the one that the training engine
knows. Both are on P-256, whose signatures cost a fraction of those on larger curves; the engine takes any
NIST curve.
"""

import base64
import secrets
import ssl
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fl_client import home as files
from fl_client.home import Home
from fl_client.link_errors import NotEnrolled, Untrusted

CONTEXT = "constellation-device-v1"
NODE_CONTEXT = b"constellation-node-v1\n"
SHORT_CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# A certificate lives 90 days; asking from day 60 leaves a month for machines that are seldom on.
RENEW_BEFORE = timedelta(days=30)


class Clock:
    """The platform's time: this machine's clock plus the difference that the server showed."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        return time.time() + self.offset

    def correct(self, server_time: float) -> None:
        self.offset = server_time - time.time()


class Identity:
    def __init__(
        self,
        identity_key: ec.EllipticCurvePrivateKey,
        node_key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.identity_key = identity_key
        self.node_key = node_key
        self.certificate = certificate
        self.clock = clock or Clock()

    @classmethod
    def load(cls, home: Home) -> "Identity":
        """The identity of an enrolled machine."""
        certificate = home.read(files.CERTIFICATE)
        if certificate is None:
            raise NotEnrolled("This machine is not enrolled; run: constellation enrol CODE")
        found = cls.load_or_create(home)
        found.certificate = x509.load_pem_x509_certificate(certificate)
        return found

    @classmethod
    def load_or_create(cls, home: Home) -> "Identity":
        """Keys of an enrolment that did not finish are used again, so that it can be repeated."""
        return cls(_key(home, files.IDENTITY_KEY), _key(home, files.NODE_KEY))

    def short_code(self) -> str:
        """What its owner compares with what the admin's page shows for the waiting machine."""
        return short_code(_public_pem(self.identity_key))

    def csr(self) -> x509.CertificateSigningRequest:
        """The platform chooses the certificate's name; the request only proves that the key is ours."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
        return (
            x509.CertificateSigningRequestBuilder()
            .subject_name(name)
            .sign(self.identity_key, hashes.SHA256())
        )

    def node_public_pem(self) -> str:
        return _public_pem(self.node_key)

    def node_proof(self, csr: x509.CertificateSigningRequest) -> str:
        """Shows that whoever holds the identity also holds the node key."""
        shown = NODE_CONTEXT + csr.public_bytes(serialization.Encoding.DER)
        return base64.b64encode(self.node_key.sign(shown, ec.ECDSA(hashes.SHA256()))).decode()

    def sign(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """The headers that prove a request to be ours; good for one use within five minutes."""
        if self.certificate is None:
            raise NotEnrolled("This machine has no certificate yet.")
        at, nonce = str(int(self.clock.now())), secrets.token_urlsafe(18)
        text = "\n".join((CONTEXT, method, path, sha256(body).hexdigest(), at, nonce)).encode()
        signature = self.identity_key.sign(text, ec.ECDSA(hashes.SHA256()))
        return {
            "x-constellation-certificate": base64.b64encode(
                self.certificate.public_bytes(serialization.Encoding.DER)
            ).decode(),
            "x-constellation-time": at,
            "x-constellation-nonce": nonce,
            "x-constellation-signature": base64.b64encode(signature).decode(),
        }

    def accept(self, home: Home, pem: str, ca: x509.Certificate) -> None:
        """Take a certificate from the platform, once it is sure that it is ours and theirs."""
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            certificate.verify_directly_issued_by(ca)
        except (ValueError, TypeError, InvalidSignature) as exc:
            raise Untrusted(
                "The server's answer holds a certificate that its authority did not issue."
            ) from exc
        if certificate.public_key() != self.identity_key.public_key():
            raise Untrusted("The server's answer holds a certificate over another key.")
        home.write(files.CERTIFICATE, pem.encode())
        self.certificate = certificate

    def due_for_renewal(self) -> bool:
        if self.certificate is None:
            return False
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        return self.certificate.not_valid_after_utc - now < RENEW_BEFORE


def authority(home: Home) -> x509.Certificate:
    pem = home.read(files.CA)
    if pem is None:
        raise NotEnrolled("This machine is not enrolled; run: constellation enrol CODE")
    return x509.load_pem_x509_certificate(pem)


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def short_code(public_pem: str) -> str:
    """Eight letters and digits of a public key's fingerprint, without those that look alike (Crockford)."""
    key = serialization.load_pem_public_key(public_pem.encode())
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    bits = int.from_bytes(sha256(key.public_bytes(encoding, form)).digest()[:5], "big")
    text = "".join(SHORT_CODE_LETTERS[bits >> shift & 31] for shift in range(35, -1, -5))
    return f"{text[:4]}-{text[4:]}"


def tls(trust: str, ca_pem: str) -> ssl.SSLContext:
    """Verifies the server by the platform's authority alone, or by the machine's trust store alone."""
    if trust == "system":
        return ssl.create_default_context()
    return ssl.create_default_context(cadata=ca_pem)


def root_certificates(home: Home, trust: str) -> bytes:
    """What `tls` trusts, as PEM, for libraries that want the bytes."""
    if trust != "system":
        return home.read(files.CA) or b""
    bundle = ssl.get_default_verify_paths().cafile
    return Path(bundle or certifi.where()).read_bytes()


def _key(home: Home, name: str) -> ec.EllipticCurvePrivateKey:
    pem = home.read(name)
    if pem is None:
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        home.write(name, pem)
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise NotEnrolled(
            f"{home.file(name)} is not a key that this program made; run: constellation leave --force"
        )
    return key


def _public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()
