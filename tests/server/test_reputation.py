from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server import roles
from fl_server.exceptions import Conflict, NotAllowed
from fl_server.models import AuditEvent, Device, Participation, Reservation, Run
from fl_server.placement.facts import DeviceFacts
from fl_server.services import participations, reputation, rounds, runs
from tests.server import cluster, world
from tests.server.test_rounds import FILE, report

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = Participation.Status


@pytest.fixture
def run() -> Run:
    cluster.idle_devices(2)
    return cluster.led()


def device(name: str) -> Device:
    return Device.objects.get(name=name)


def rounds_of(run: Run, count: int, status: str, first: int = 1, **facts: Any) -> None:
    """Desk-1 is always accepted, desk-2 answers as the test says."""
    good, other = device("desk-1"), device("desk-2")
    for number in range(first, first + count):
        participations.open_round(run, number, [good, other])
        participations.settle(run, number, good, Status.ACCEPTED, examples=1)
        participations.settle(run, number, other, status, **facts)


def looked_at() -> Device:
    reputation.recompute(Device.objects.values_list("pk", flat=True))
    return device("desk-2")


def quarantined(run: Run) -> Device:
    rounds_of(run, 6, Status.REJECTED, reason_code="non-finite", reason="NaN")
    found = looked_at()
    assert found.quarantined_at
    return found


def test_bad_answers_lower_the_reputation_of_whoever_gave_them(run: Run) -> None:
    rounds_of(run, 2, Status.REJECTED, reason_code="non-finite")
    assert looked_at().reputation == pytest.approx(0.67, abs=0.02)
    assert device("desk-1").reputation == 1.0


def test_below_the_threshold_a_device_gets_no_jobs_and_is_told_why(run: Run) -> None:
    with cluster.heard() as heard:
        found = quarantined(run)
    assert found.quarantine_reason == (
        f"Reputation {found.reputation:.2f}, below 0.5. Its last 6 answers: 6 rejected."
    )
    assert not Reservation.objects.filter(device=found, released_at__isnull=True).exists()
    event = AuditEvent.objects.get(action="device.quarantine")
    assert (event.actor, event.target) == (None, f"device:{found.pk}")
    told = [m for m in heard if m.get("event") == "device" and m.get("quarantine")]
    assert {m["device"] for m in told} == {str(found.pk)}


def test_matching_passes_over_who_is_in_quarantine(run: Run) -> None:
    found = quarantined(run)
    runs.fail(run, "error", "over")
    claimed = cluster.claimed(cluster.queued("Next"))
    assert found not in [r.device for r in claimed.reservations.all()]
    assert DeviceFacts(pk=found.pk, quarantined=True).quarantined


def test_a_device_in_quarantine_is_not_quarantined_again(run: Run) -> None:
    before = quarantined(run).quarantined_at
    assert looked_at().quarantined_at == before
    assert AuditEvent.objects.filter(action="device.quarantine").count() == 1


@pytest.mark.parametrize("code", ["run-ended", "owner-returned"])
def test_what_is_not_the_devices_fault_leaves_it_alone(run: Run, code: str) -> None:
    rounds_of(run, 20, Status.LOST, reason_code=code)
    assert looked_at().reputation == 1.0


def test_an_owner_who_comes_back_does_not_lower_it(run: Run) -> None:
    said = "owner-returned: The owner came back before anything was trained."
    rounds_of(run, 20, Status.REJECTED, reason_code="client-error", reason=said)
    assert looked_at().reputation == 1.0


def test_a_round_that_closes_while_the_owner_is_back_does_not_lower_it(run: Run) -> None:
    good, other = device("desk-1"), device("desk-2")
    for number in range(1, 15):
        participations.open_round(run, number, [good, other])
        participations.settle(run, number, good, Status.ACCEPTED)
        participations.parked(other, run.pk, number, 0)
        participations.settle(run, number, other, Status.LOST, reason_code="lost", reason="It closed.")
    assert {p.reason_code for p in other.participations.all()} == {"owner-returned"}
    assert looked_at().reputation == 1.0


def test_a_partial_answer_that_is_accepted_is_a_good_one(run: Run) -> None:
    rounds_of(run, 5, Status.ACCEPTED)
    Participation.objects.update(partial=True)
    assert looked_at().reputation == 1.0


def test_a_device_that_says_what_is_wrong_falls_more_slowly(run: Run) -> None:
    rounds_of(run, 6, Status.REJECTED, reason_code="client-error", reason="out-of-memory: 3 GB")
    assert 0.5 < looked_at().reputation < 0.7


def test_a_job_on_which_everybody_fails_is_the_jobs_fault(run: Run) -> None:
    both = list(Device.objects.all())
    for number in range(1, 10):
        participations.open_round(run, number, both)
        for one in both:
            participations.settle(run, number, one, Status.REJECTED, reason_code="non-finite")
    assert looked_at().reputation == 1.0


def test_an_admin_releases_it_and_the_past_no_longer_counts(run: Run) -> None:
    found = quarantined(run)
    admin = world.person("ada", roles.ADMIN)
    reputation.release(found, admin)
    assert AuditEvent.objects.get(action="device.unquarantine").actor == admin
    after = looked_at()
    assert (after.quarantined_at, after.quarantine_reason, after.reputation) == (None, "", 1.0)
    rounds_of(run, 1, Status.REJECTED, first=7, reason_code="shape")
    assert looked_at().reputation == pytest.approx(0.8, abs=0.01)


def test_only_an_admin_releases_and_only_from_quarantine(run: Run) -> None:
    found = quarantined(run)
    with pytest.raises(NotAllowed):
        reputation.release(found, found.owner)
    admin = world.person("ada", roles.ADMIN)
    with pytest.raises(Conflict):
        reputation.release(device("desk-1"), admin)


def test_clean_days_release_it(run: Run, settings: Any) -> None:
    found = quarantined(run)
    soon = timezone.now() + timedelta(days=settings.QUARANTINE_DAYS - 0.1)
    reputation.review(soon)
    assert device("desk-2").quarantined_at == found.quarantined_at
    reputation.review(timezone.now() + timedelta(days=settings.QUARANTINE_DAYS))
    assert device("desk-2").quarantined_at is None
    assert AuditEvent.objects.get(action="device.unquarantine").actor is None


def test_old_faults_fade(run: Run) -> None:
    rounds_of(run, 3, Status.REJECTED, reason_code="shape")
    before = looked_at().reputation
    reputation.review(timezone.now() + timedelta(days=14))
    assert device("desk-2").reputation > before + 0.1


def test_a_threshold_of_0_switches_quarantine_off(run: Run, settings: Any) -> None:
    settings.QUARANTINE_BELOW = 0
    rounds_of(run, 30, Status.REJECTED, reason_code="non-finite")
    assert looked_at().quarantined_at is None


def test_a_committed_round_looks_at_its_devices(run: Run) -> None:
    rounds_of(run, 6, Status.REJECTED, reason_code="shape")
    reputation.after_round(rounds.commit(run, report(6), FILE, evaluate=False))
    assert device("desk-2").quarantined_at


def test_many_devices_cost_the_same_queries(run: Run, django_assert_num_queries: Any) -> None:
    rounds_of(run, 2, Status.REJECTED, reason_code="shape")
    pks = list(Device.objects.values_list("pk", flat=True))
    with django_assert_num_queries(6):
        reputation.recompute(pks)
    for number in range(3, 20):
        made = cluster.idle(f"desk-{number}")
        Participation.objects.create(
            run=run, round_number=1, device=made, status=Status.LOST, finished_at=timezone.now()
        )
    pks = list(Device.objects.values_list("pk", flat=True))
    with django_assert_num_queries(6):
        reputation.recompute(pks)
