import stat
import subprocess
import sys
import threading
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fl_server import pki


@pytest.fixture(autouse=True)
def fresh_home(tmp_path: Path, settings) -> Path:
    settings.KEYS_DIR = tmp_path
    return tmp_path


def test_ensure_makes_four_files_that_only_the_server_can_read(fresh_home: Path) -> None:
    pki.ensure()
    found = sorted(path.name for path in fresh_home.iterdir())
    assert found == ["ca.key", "ca.pem", "server.key", "server.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in fresh_home.iterdir()} == {0o600}


def test_a_second_call_changes_nothing(fresh_home: Path) -> None:
    pki.ensure()
    before = {path.name: path.read_bytes() for path in fresh_home.iterdir()}
    pki.ensure()
    assert {path.name: path.read_bytes() for path in fresh_home.iterdir()} == before


def test_the_fingerprint_is_the_sha256_of_the_authoritys_der() -> None:
    certificate = x509.load_pem_x509_certificate(pki.ca_pem().encode())
    assert pki.fingerprint() == sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def test_eight_threads_that_start_at_once_agree_on_one_authority() -> None:
    gate, found = threading.Barrier(8), []

    def ask() -> None:
        gate.wait()
        found.append((pki.fingerprint(), pki.server_certificate()[0].read_bytes() != b""))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_the_server_certificate_names_loopback_and_the_public_host(settings) -> None:
    settings.PUBLIC_URL = "https://constellation.example:8443"
    settings.SERVER_NAMES = ["10.1.2.3"]
    certificate = x509.load_pem_x509_certificate(pki.server_certificate()[0].read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "constellation.example"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "10.1.2.3"} <= {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
    certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    certificate.verify_directly_issued_by(pki.ca_certificate())


def test_openssl_accepts_the_server_certificate_under_strict_rules(fresh_home: Path) -> None:
    certificate, _ = pki.server_certificate()
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(pki.ca_path())]
    try:
        done = subprocess.run([*command, str(certificate)], capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        pytest.skip("no openssl program here")
    assert done.returncode == 0, done.stderr


def test_the_server_certificate_is_made_anew_when_a_name_is_added(settings) -> None:
    before = pki.server_certificate()[0].read_bytes()
    settings.SERVER_NAMES = ["new.example"]
    assert pki.server_certificate()[0].read_bytes() != before


def test_the_server_certificate_is_made_anew_near_its_end(monkeypatch) -> None:
    monkeypatch.setattr(pki, "SERVER_LIFE", timedelta(days=20))
    before = pki.server_certificate()[0].read_bytes()
    monkeypatch.undo()
    assert pki.server_certificate()[0].read_bytes() != before


def test_a_device_certificate_carries_the_device_and_lives_ninety_days() -> None:
    device, key = uuid.uuid4(), ec.generate_private_key(ec.SECP256R1())
    certificate = pki.issue_device_certificate(device, key.public_key())
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == str(device)
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert pki.is_ours(certificate)


def test_the_server_certificate_is_no_device_certificate() -> None:
    assert not pki.is_ours(x509.load_pem_x509_certificate(pki.server_certificate()[0].read_bytes()))


def test_a_certificate_of_another_authority_is_not_ours(tmp_path: Path, settings) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    settings.KEYS_DIR = tmp_path / "other"
    settings.KEYS_DIR.mkdir()
    foreign = pki.issue_device_certificate(uuid.uuid4(), key.public_key())
    settings.KEYS_DIR = tmp_path
    assert not pki.is_ours(foreign)


def test_a_self_made_certificate_with_the_authoritys_name_is_not_ours() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(uuid.uuid4()))]))
        .issuer_name(pki.ca_certificate().subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    assert not pki.is_ours(forged)


def test_processes_that_race_on_a_fresh_home_agree(fresh_home: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from django.conf import settings; "
        "settings.configure(KEYS_DIR=Path(sys.argv[1]), PUBLIC_URL='http://127.0.0.1', "
        "BIND_HOST='127.0.0.1', SERVER_NAMES=[]); from fl_server import pki; print(pki.fingerprint())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(fresh_home)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    found = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(found) == 1
    assert all(len(fingerprint) == 64 for fingerprint in found)
