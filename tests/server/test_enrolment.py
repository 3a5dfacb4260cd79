import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.db import connection
from django.test import Client
from django.utils import timezone

from fl_client import enrol
from fl_server import pki, roles
from fl_server.exceptions import ConstellationError, Gone, InvalidInput, NotAllowed, NotFound
from fl_server.models import AuditEvent, Device, EnrolmentCode
from fl_server.services import devices, enrolment
from tests.server.machines import HARDWARE, Machine, code_for
from tests.server.world import person

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def admin(db):
    return person("ada", roles.ADMIN)


@pytest.fixture
def owner(db):
    return person("otto", roles.OWNER)


def test_the_code_carries_address_secret_and_fingerprint_as_the_client_reads_them(admin, owner) -> None:
    code, text = enrolment.create_code(admin, owner=owner, label="desks")
    invitation = enrol.parse(text)
    assert invitation.fingerprint == pki.fingerprint()
    assert invitation.url.startswith("http://127.0.0.1")
    assert invitation.trust == "platform"
    assert invitation.secret not in str(EnrolmentCode.objects.values().get(pk=code.pk))


def test_behind_a_proxy_the_code_asks_for_the_machines_trust_store(admin, owner, settings) -> None:
    settings.BEHIND_PROXY, settings.PUBLIC_URL = True, "https://train.example"
    assert enrol.parse(enrolment.create_code(admin, owner=owner, label="desks")[1]).trust == "system"


def test_a_machine_joins_approved_with_owner_labels_and_a_certificate(admin, owner, tmp_path: Path) -> None:
    device = Machine(tmp_path).join(code_for(owner, admin, labels={"room": "lab"}))
    stored = Device.objects.get()
    assert stored.pk == device.pk
    assert (stored.owner, stored.status, stored.labels) == (owner, Device.Status.APPROVED, {"room": "lab"})
    assert stored.hardware == HARDWARE | {"accelerator": ""}
    assert stored.certificate_until > timezone.now() + timedelta(days=89)
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["device.join", "code.create"]


def test_a_code_that_does_not_approve_leaves_the_device_pending(admin, owner, tmp_path: Path) -> None:
    assert Machine(tmp_path).join(code_for(owner, admin, approves=False)).status == Device.Status.PENDING


def test_a_code_admits_as_many_machines_as_it_says(admin, owner, tmp_path: Path) -> None:
    secret = code_for(owner, admin, max_uses=2)
    Machine(tmp_path, "one").join(secret)
    Machine(tmp_path, "two").join(secret)
    with pytest.raises(Gone) as refused:
        Machine(tmp_path, "three").join(secret)
    assert refused.value.code == "code-used-up"
    assert Device.objects.count() == 2


def test_unknown_expired_and_revoked_codes_are_told_apart(admin, owner, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as unknown:
        Machine(tmp_path).join("never-made")
    expired = code_for(owner, admin)
    EnrolmentCode.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Gone) as late:
        Machine(tmp_path).join(expired)
    revoked = code_for(owner, admin)
    enrolment.revoke_code(EnrolmentCode.objects.latest("pk"), admin)
    with pytest.raises(Gone) as shut:
        Machine(tmp_path).join(revoked)
    assert [e.value.code for e in (unknown, late, shut)] == ["code-unknown", "code-expired", "code-revoked"]
    assert not Device.objects.exists()


def test_asking_again_with_the_same_keys_gives_the_same_device_and_uses_the_code_once(
    admin, owner, tmp_path: Path
) -> None:
    secret, machine = code_for(owner, admin), Machine(tmp_path)
    first = machine.join(secret)
    again = machine.join(secret)
    assert again.pk == first.pk
    assert Device.objects.count() == 1
    assert EnrolmentCode.objects.get().uses == 1


def test_a_code_that_ended_still_answers_a_machine_that_asks_again_at_once(
    admin, owner, tmp_path: Path
) -> None:
    secret, machine = code_for(owner, admin), Machine(tmp_path)
    first = machine.join(secret)
    EnrolmentCode.objects.update(expires_at=timezone.now())
    assert machine.join(secret).pk == first.pk


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"revoked_at": timezone.now()}, "code-revoked"),
        ({"expires_at": timezone.now()}, "code-expired"),
        ({}, "code-used-up"),
    ],
)
def test_a_code_that_ended_certifies_nobody_later(admin, owner, tmp_path: Path, change, code: str) -> None:
    secret, machine = code_for(owner, admin), Machine(tmp_path)
    machine.join(secret)
    Device.objects.update(enrolled_at=timezone.now() - timedelta(minutes=61))
    EnrolmentCode.objects.update(**change)
    serial = Device.objects.get().certificate_serial
    with pytest.raises(Gone) as refused:
        machine.join(secret)
    assert refused.value.code == code
    assert Device.objects.get().certificate_serial == serial


def test_a_revoked_code_certifies_nobody_even_at_once(admin, owner, tmp_path: Path) -> None:
    secret, machine = code_for(owner, admin, max_uses=5), Machine(tmp_path)
    machine.join(secret)
    enrolment.revoke_code(EnrolmentCode.objects.get(), admin)
    with pytest.raises(Gone):
        machine.join(secret)


def test_a_machine_whose_certificate_ran_out_comes_back_with_a_new_code(admin, owner, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first = machine.join(code_for(owner, admin))
    Device.objects.update(enrolled_at=timezone.now() - timedelta(days=100))
    assert machine.join(code_for(owner, admin)).pk == first.pk
    assert sorted(EnrolmentCode.objects.values_list("uses", flat=True)) == [1, 1]


def test_the_keys_of_a_revoked_device_never_join_again(admin, owner, tmp_path: Path) -> None:
    secret, machine = code_for(owner, admin, max_uses=5), Machine(tmp_path)
    devices.revoke(machine.join(secret), admin, "lost")
    with pytest.raises(NotAllowed) as refused:
        machine.join(secret)
    assert refused.value.code == "device-revoked"


def test_a_machine_cannot_take_another_ones_node_key(admin, owner, tmp_path: Path) -> None:
    secret = code_for(owner, admin, max_uses=5)
    first, second = Machine(tmp_path, "one"), Machine(tmp_path, "two")
    first.join(secret)
    with pytest.raises(InvalidInput) as refused:
        second.join(secret, node_key=first.identity.node_public_pem())
    assert refused.value.field == "node_proof"
    second.identity.node_key = first.identity.node_key
    with pytest.raises(ConstellationError) as taken:
        second.join(secret)
    assert taken.value.code == "key-in-use"
    assert EnrolmentCode.objects.get().uses == 1


def _csr(key) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    "csr",
    [
        "no pem at all",
        _csr(rsa.generate_private_key(65537, 2048)),
        _csr(ec.generate_private_key(ec.SECP256K1())),
    ],
    ids=["garbage", "rsa", "another curve"],
)
def test_unsuitable_identity_keys_are_refused(admin, owner, tmp_path: Path, csr: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Machine(tmp_path).join(code_for(owner, admin), csr=csr)
    assert refused.value.field == "csr"
    assert EnrolmentCode.objects.get().uses == 0


def test_a_request_changed_after_signing_is_refused(admin, owner, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    der = bytearray(machine.identity.csr().public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    try:
        pem = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    except ValueError:
        pem = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"
    with pytest.raises(InvalidInput):
        machine.join(code_for(owner, admin), csr=pem)


def test_the_machine_id_is_stored_only_as_a_salted_hash(admin, owner, tmp_path: Path) -> None:
    device = Machine(tmp_path).join(code_for(owner, admin), machine_id="0f3c-secret")
    assert len(device.machine_hash) == 64
    assert "0f3c" not in device.machine_hash
    twin = Machine(tmp_path, "again").join(code_for(owner, admin), machine_id="0f3c-secret")
    assert twin.machine_hash == device.machine_hash


def test_owners_make_small_codes_for_themselves_that_need_approval(owner, admin) -> None:
    enrolment.create_code(owner, owner=owner, label="mine", max_uses=5, approves=False)
    for wrong in (
        {"owner": owner, "approves": True},
        {"owner": owner, "approves": False, "max_uses": 6},
        {"owner": admin, "approves": False},
    ):
        with pytest.raises(NotAllowed):
            enrolment.create_code(owner, label="no", **wrong)
    assert EnrolmentCode.objects.count() == 1


@pytest.mark.parametrize("role", ["", roles.VIEWER, roles.RESEARCHER])
def test_others_make_no_codes_and_revoke_none(admin, owner, role: str) -> None:
    stranger = person("sam", role)
    with pytest.raises(NotAllowed):
        enrolment.create_code(stranger, owner=stranger, label="no", approves=False)
    code, _ = enrolment.create_code(admin, owner=owner, label="desks")
    with pytest.raises(NotAllowed):
        enrolment.revoke_code(code, stranger)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_uses": 0}, "max_uses"),
        ({"valid_for": timedelta(0)}, "valid_for"),
        ({"valid_for": timedelta(days=400)}, "valid_for"),
        ({"label": " "}, "label"),
    ],
)
def test_codes_out_of_range_are_refused_by_field(admin, owner, options, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        enrolment.create_code(admin, **({"owner": owner, "label": "desks"} | options))
    assert refused.value.field == field


def test_joining_over_http_answers_with_a_certificate_and_bad_input_with_its_field(
    admin, owner, tmp_path: Path
) -> None:
    body = Machine(tmp_path).request() | {
        "secret": code_for(owner, admin),
        "name": "desk",
        "hardware": HARDWARE,
        "client_version": "0.1.0",
    }
    answer = Client().post("/api/v1/enrolment/join", body, content_type="application/json")
    assert answer.status_code == 201
    assert answer.json()["status"] == "approved"
    assert answer.json()["certificate"].startswith("-----BEGIN CERTIFICATE")
    assert answer.json()["owner"] == "otto"
    wrong = body | {"hardware": {"cores": 0, "ram_bytes": 1}}
    refused = Client().post("/api/v1/enrolment/join", wrong, content_type="application/json")
    assert refused.status_code == 400
    assert refused.json()["error"]["field"] == "hardware.cores"


def test_guessing_secrets_is_slowed_down() -> None:
    statuses = [
        Client(REMOTE_ADDR="203.0.113.7")
        .post("/api/v1/enrolment/join", {"secret": str(guess)}, content_type="application/json")
        .status_code
        for guess in range(40)
    ]
    assert set(statuses[:20]) == {400}
    assert statuses[-1] == 429


def test_the_authority_is_public_as_pem() -> None:
    answer = Client().get("/api/v1/device/ca")
    assert answer.status_code == 200
    assert answer.content.decode() == pki.ca_pem()


@pytest.mark.django_db(transaction=True)
def test_of_eight_machines_racing_for_one_use_exactly_one_joins(tmp_path: Path) -> None:
    secret = code_for(person("otto", roles.OWNER), person("ada", roles.ADMIN))
    machines = [Machine(tmp_path, f"m{i}") for i in range(8)]
    gate, outcomes = threading.Barrier(8), []

    def join(machine: Machine) -> None:
        gate.wait()
        try:
            machine.join(secret)
            outcomes.append("joined")
        except Gone as exc:
            outcomes.append(exc.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=join, args=(machine,)) for machine in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["code-used-up"] * 7 + ["joined"]
    assert Device.objects.count() == 1


def test_an_owner_gives_no_labels_since_they_decide_which_jobs_and_rules_a_machine_gets(owner) -> None:
    with pytest.raises(NotAllowed, match="only an admin"):
        enrolment.create_code(owner, owner=owner, label="mine", approves=False, labels={"room": "lab"})


def test_labels_that_no_rule_could_name_are_refused(admin, owner) -> None:
    with pytest.raises(InvalidInput, match="label_name"):
        enrolment.create_code(admin, owner=owner, label="lab", labels={"a=b": "c"})
