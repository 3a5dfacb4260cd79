"""Rounds through the real engine: SuperLink and SuperExec as the Procfile has them, behind the gateway."""

import os
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import connection
from flwr.app import RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fl_client import weights
from fl_server.exceptions import Conflict
from fl_server.flower import control, engine
from fl_server.models import Participation, TrainingJob
from tests.e2e.desks import QUICK_STEP, Arrays, Company, CrookedLink, CutOffLink, Tamper, public_pem
from tests.e2e.processes import started

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

Status = Participation.Status


def database_url() -> str:
    """The test database, as other processes reach it."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the gateway; the engine behind it is the one that this process's settings name."""
    log = tmp_path_factory.mktemp("logs") / "log"
    with (
        started(log, "superlink", "superexec", "web", DATABASE_URL=database_url()) as at,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(settings, "ENGINE_PORT", at.engine)
        patch.setattr(settings, "ENGINE_ADDRESS", f"127.0.0.1:{at.engine}")
        engine.control_client.cache_clear()
        yield f"127.0.0.1:{at.web}"
        sys.stderr.write(log.read_text()[-20_000:])
        # A SuperLink that ends waits for those who are connected.
        engine.control_client().close()
        engine.control_client.cache_clear()


@pytest.fixture(autouse=True)
def _inside_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def tampering(change: Callable[[Arrays], None]) -> Tamper:
    def tamper(content: RecordDict) -> None:
        arrays = {name: array.copy() for name, array in weights.unpack(content["fit"]["weights"]).items()}
        change(arrays)
        content["fit"]["weights"] = weights.pack(arrays)

    return tamper


def claiming(examples: int) -> Tamper:
    def tamper(content: RecordDict) -> None:
        content["fit"]["examples"] = examples

    return tamper


def poison(arrays: Arrays) -> None:
    name = sorted(arrays)[0]
    arrays[name].reshape(-1)[3] = np.nan


def bias(arrays: Arrays) -> str:
    """A vector of ten: the last layer's bias."""
    return next(name for name, array in arrays.items() if array.shape == (10,))


def stretch(arrays: Arrays) -> None:
    arrays[bias(arrays)] = np.zeros(11, dtype=np.float32)


def shrink(arrays: Arrays) -> None:
    """What numpy would quietly broadcast."""
    arrays[bias(arrays)] = np.zeros(1, dtype=np.float32)


@pytest.fixture
def company(web: str, transactional_db: None) -> Iterator[Company]:
    made = Company(web)
    yield made
    made.close()


def check_model(company: Company, job: TrainingJob, rounds: int) -> None:
    """Every weight went up by what a quick worker adds in each round."""
    before, after = company.model(job, 0), company.model(job, rounds)
    assert len(before) == 10
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array + np.float32(rounds * QUICK_STEP), atol=1e-6)


def test_registering_a_node_twice_gives_one_node_and_a_revoked_key_never_comes_back(company):
    key = public_pem(ec.generate_private_key(ec.SECP256R1()))
    first = control.register_node(key, "desk")
    assert control.register_node(key, "desk") == first
    control.unregister_node(first)
    control.unregister_node(first)
    with pytest.raises(Conflict):
        control.register_node(key, "desk")
    control.stop_run("12345")


def test_two_devices_train_a_job_through_the_gateway_with_node_authentication(company):
    for name in ("one", "two"):
        company.hire(name)
    job = company.submit(rounds=2, participation={"quorum": 2})
    company.work(job)
    assert (job.status, job.reason) == ("completed", "All 2 rounds are done.")
    assert [(r.number, r.accepted, r.rejected) for r in job.rounds.order_by("number")] == [
        (1, 2, 0),
        (2, 2, 0),
    ]
    for round_number in (1, 2):
        parts = company.parts(job, round_number)
        assert {name: part.status for name, part in parts.items()} == dict.fromkeys(
            ("one", "two"), "accepted"
        )
        assert [part.attempts for part in parts.values()] == [1, 1]
        assert all(part.examples > 0 and part.bytes_up > 0 for part in parts.values())
    check_model(company, job, rounds=2)


def test_devices_that_hand_in_nonsense_are_refused_with_a_reason_and_leave_no_trace(company):
    company.hire("honest")
    crooked = {
        "poisoner": (tampering(poison), "non-finite"),
        "stretcher": (tampering(stretch), "shape"),
        "shrinker": (tampering(shrink), "shape"),
        "idler": (claiming(0), "weight"),
        "braggart": (claiming(10**12), "weight"),
        "debtor": (claiming(-5), "weight"),
    }
    for name, (tamper, _) in crooked.items():
        company.hire(name, wrap=lambda link, tamper=tamper: CrookedLink(link, tamper))
    job = company.submit(rounds=1)
    company.work(job)
    assert job.status == "completed", job.reason
    parts = company.parts(job)
    assert {name: part.reason_code for name, part in parts.items()} == {
        "honest": "",
        **{name: code for name, (_, code) in crooked.items()},
    }
    assert all(
        part.status == Status.REJECTED and part.reason for name, part in parts.items() if name in crooked
    )
    row = job.rounds.get()
    assert (row.accepted, row.rejected, row.examples) == (1, len(crooked), 10)
    check_model(company, job, rounds=1)


def test_a_device_that_claims_an_upload_which_never_came_holds_up_nobody_for_long(company):
    company.hire("honest")
    company.hire("liar", wrap=lambda link: CutOffLink(link, lambda content: None))
    job = company.submit(rounds=1, participation={"round_deadline_seconds": 8})
    company.work(job)
    assert job.status == "completed", job.reason
    parts = company.parts(job)
    assert (parts["honest"].status, parts["liar"].status) == (Status.ACCEPTED, Status.LOST)
    assert job.rounds.get().seconds < 8 + 3 * engine.PULL_SECONDS
