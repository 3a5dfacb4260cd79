"""Joining a platform: from the code that a person pastes to a stored certificate."""

import base64
import binascii
import hmac
import json
import platform
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fl_client import __version__, hardware, identity
from fl_client import home as files
from fl_client.api import PlatformApi, check_url
from fl_client.home import Home, State
from fl_client.identity import Identity
from fl_client.link_errors import AlreadyEnrolled, BadCode, Refused, Untrusted

PREFIX = "C1-"
# The server knows these keys from an earlier life of this machine; new ones cure it.
CURED_BY_NEW_KEYS = frozenset({"key-in-use", "device-revoked"})


@dataclass(frozen=True)
class Invitation:
    """What an enrolment code says. `fingerprint` is the SHA-256 of the authority's certificate."""

    url: str
    secret: str
    fingerprint: str
    trust: str = "platform"


def parse(code: str, url: str = "", fingerprint: str = "") -> Invitation:
    """Read a pasted code, or the secret alone when address and fingerprint come beside it."""
    code = "".join(code.split())
    found = _unpack(code) if code.startswith(PREFIX) else Invitation(url, code, fingerprint)
    if url:
        found = replace(found, url=url)
    if fingerprint:
        found = replace(found, fingerprint=fingerprint)
    found = replace(found, url=found.url.rstrip("/"), fingerprint=found.fingerprint.replace(":", "").lower())
    if not found.secret:
        raise BadCode("The enrolment code is empty.")
    if not found.url:
        raise BadCode("This is only the secret of a code: give --url too, or paste the whole code (C1-…).")
    check_url(found.url)
    if len(found.fingerprint) != 64 and (found.fingerprint or found.url.startswith("https")):
        raise BadCode("The authority's fingerprint must be 64 hexadecimal digits; give --ca-fingerprint.")
    return found


def enrol(invitation: Invitation, name: str, home: Home) -> State:
    """Join; safe to repeat after a failure. Nothing is trusted before the fingerprint matches."""
    before = home.state()
    if before is not None and before.status != "revoked":
        raise AlreadyEnrolled(
            f"This machine is enrolled as {before.name!r} with {before.server}; "
            "leave first: constellation leave"
        )
    if before is not None:
        home.forget_platform()
    ca_pem = _fetch_ca(invitation)
    try:
        return _join(invitation, name, home, ca_pem)
    except Refused as exc:
        if exc.code not in CURED_BY_NEW_KEYS:
            raise
        home.forget_platform()
        return _join(invitation, name, home, ca_pem)


def _fetch_ca(invitation: Invitation) -> str:
    """The first contact is encrypted but proves nothing; the fingerprint does."""
    verify = identity.tls("system", "") if invitation.trust == "system" else False
    with PlatformApi(invitation.url, verify) as api:
        pem = api.get_text("/api/v1/device/ca")
    try:
        found = identity.fingerprint(x509.load_pem_x509_certificate(pem.encode()))
    except ValueError as exc:
        raise Untrusted(f"{invitation.url} does not answer like a Constellation server.") from exc
    if invitation.fingerprint and not hmac.compare_digest(found, invitation.fingerprint):
        raise Untrusted(
            f"{invitation.url} is not the server that the code names: its authority's fingerprint is "
            f"{found}, expected is {invitation.fingerprint}. Nothing was sent."
        )
    return pem


def _join(invitation: Invitation, name: str, home: Home, ca_pem: str) -> State:
    me = Identity.load_or_create(home)
    csr = me.csr()
    request = {
        "secret": invitation.secret,
        "csr": csr.public_bytes(serialization.Encoding.PEM).decode(),
        "node_key": me.node_public_pem(),
        "node_proof": me.node_proof(csr),
        "name": name,
        "hardware": hardware.read(),
        "platform": platform.platform(terse=True),
        "client_version": __version__,
        "machine_id": hardware.machine_id(),
    }
    with PlatformApi(invitation.url, identity.tls(invitation.trust, ca_pem)) as api:
        answer = api.post("/api/v1/enrolment/join", request)
    try:
        state = State(
            server=invitation.url,
            device=str(answer["device"]),
            name=str(answer["name"]),
            trust=invitation.trust,
            status=str(answer["status"]),
            node_id=str(answer.get("node_id") or ""),
        )
        certificate = str(answer["certificate"])
    except KeyError as exc:
        raise Refused(f"The server's answer lacks {exc}.", "answer-unreadable") from exc
    me.accept(home, certificate, x509.load_pem_x509_certificate(ca_pem.encode()))
    home.write(files.CA, ca_pem.encode())
    # Last, since a home that has a state counts as enrolled.
    return home.save(state)


def _unpack(code: str) -> Invitation:
    packed = code.removeprefix(PREFIX)
    try:
        parts = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        return Invitation(str(parts["u"]), str(parts["s"]), str(parts["f"]), str(parts.get("t", "platform")))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as exc:
        raise BadCode("The enrolment code is damaged; copy it again, as a whole.") from exc
