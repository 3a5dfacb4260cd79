import base64
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fl_client import home as files
from fl_client.home import Home, State
from fl_client.identity import Clock, Identity
from fl_client.link_errors import AlreadyRunning, NotEnrolled, Untrusted


def certificate(subject_key: ec.EllipticCurvePublicKey, issuer_key, days: float = 90) -> x509.Certificate:
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(subject_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .sign(issuer_key, hashes.SHA256())
    )


def pem(of: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return of.public_bytes(Encoding.PEM).decode()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate(key.public_key(), key), key


def test_keys_are_made_once_and_only_their_owner_can_read_them(home: Home) -> None:
    first = Identity.load_or_create(home)
    again = Identity.load_or_create(home)
    assert again.node_public_pem() == first.node_public_pem()
    assert again.identity_key.public_key() == first.identity_key.public_key()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    modes = [stat.S_IMODE(path.stat().st_mode) for path in home.path.iterdir()]
    assert modes == [0o600, 0o600]


def test_the_two_keys_differ(home: Home) -> None:
    mine = Identity.load_or_create(home)
    assert mine.identity_key.public_key() != mine.node_key.public_key()


def test_the_engine_takes_the_node_key(home: Home) -> None:
    from flwr.supercore.primitives.asymmetric import bytes_to_public_key, uses_nist_ec_curve

    assert uses_nist_ec_curve(bytes_to_public_key(Identity.load_or_create(home).node_public_pem().encode()))


def test_an_identity_without_a_certificate_signs_nothing(home: Home) -> None:
    with pytest.raises(NotEnrolled):
        Identity.load_or_create(home).sign("GET", "/")
    with pytest.raises(NotEnrolled):
        Identity.load(home)


def test_each_signature_has_a_nonce_of_its_own_and_the_corrected_time(home: Home, authority) -> None:
    mine = Identity.load_or_create(home)
    mine.certificate = certificate(mine.identity_key.public_key(), authority[1])
    mine.clock.correct(time.time() + 5000)
    one, two = mine.sign("GET", "/x"), mine.sign("GET", "/x")
    assert one["x-constellation-nonce"] != two["x-constellation-nonce"]
    assert abs(int(one["x-constellation-time"]) - time.time() - 5000) < 3
    shown = x509.load_der_x509_certificate(base64.b64decode(one["x-constellation-certificate"]))
    assert shown == mine.certificate


def test_a_certificate_is_taken_only_over_our_key_and_from_the_known_authority(home: Home, authority) -> None:
    mine, (ca, ca_key) = Identity.load_or_create(home), authority
    stranger = ec.generate_private_key(ec.SECP256R1())
    for wrong in (
        pem(certificate(stranger.public_key(), ca_key)),
        pem(certificate(mine.identity_key.public_key(), stranger)),
        "no certificate",
    ):
        with pytest.raises(Untrusted):
            mine.accept(home, wrong, ca)
    assert home.read(files.CERTIFICATE) is None
    mine.accept(home, pem(certificate(mine.identity_key.public_key(), ca_key)), ca)
    assert Identity.load(home).certificate == mine.certificate


@pytest.mark.parametrize(("days", "due"), [(90, False), (31, False), (29, True), (-1, True)])
def test_a_certificate_is_renewed_in_its_last_month(home: Home, authority, days: float, due: bool) -> None:
    mine = Identity.load_or_create(home)
    mine.certificate = certificate(mine.identity_key.public_key(), authority[1], max(days, 0))
    if days < 0:
        mine.clock.correct(time.time() + 86400)
    assert mine.due_for_renewal() is due


def test_the_clock_follows_the_server() -> None:
    clock = Clock()
    clock.correct(time.time() - 100)
    assert abs(clock.now() - (time.time() - 100)) < 0.5


def test_a_file_is_replaced_as_a_whole_and_leaves_no_draft(home: Home) -> None:
    home.write("x", b"one")
    home.write("x", b"two")
    assert home.read("x") == b"two"
    assert [path.name for path in home.path.iterdir()] == ["x"]


def test_state_survives_unknown_keys_of_a_newer_client(home: Home) -> None:
    home.save(State("https://x", "d", "desk"))
    text = home.read(files.STATE).decode().replace("{", '{"later": 1,', 1)
    home.write(files.STATE, text.encode())
    assert home.enrolled() == State("https://x", "d", "desk")
    assert home.update(status="approved").status == "approved"


def test_leaving_removes_keys_certificate_and_work(home: Home) -> None:
    Identity.load_or_create(home)
    home.save(State("https://x", "d", "desk"))
    home.file("work").mkdir()
    home.forget()
    assert list(home.path.iterdir()) == []


def test_two_agents_never_share_a_home(home: Home) -> None:
    with home.lock(), pytest.raises(AlreadyRunning), Home(home.path).lock():
        pass
    with home.lock():
        pass
