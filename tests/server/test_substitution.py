"""Devices that a run lost between two rounds give their places to others."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fl_server.models import AuditEvent, Device, JobEvent, Participation, Quota, Reservation, Run
from fl_server.selectors import runs as selectors
from fl_server.services import jobs, participations, pausing, runs, substitution
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

TWO = {"participation": {"min_devices": 2, "max_devices": 2}}
ROWS = [600, 400]


@pytest.fixture
def run() -> Run:
    """Leads desk-1 and desk-2, and has finished round 1."""
    cluster.idle_devices(2)
    made = cluster.led(cluster.queued(**TWO))
    runs.prepared(made, ROWS)
    made.refresh_from_db()
    finish_round(made, 1)
    return made


def finish_round(run: Run, number: int) -> None:
    now = timezone.now()
    run.rounds.create(job=run.job, number=number, started_at=now, finished_at=now)


def lent(run: Run) -> dict[str, tuple[int, int | None]]:
    """Which device holds which part, with how many rows."""
    return {r.device.name: (r.partition, r.rows) for r in selectors.active_reservations(run)}


def silence(name: str, seconds: float) -> None:
    Device.objects.filter(name=name).update(last_seen=timezone.now() - timedelta(seconds=seconds))


def holder(run: Run, partition: int) -> str:
    return next(name for name, (part, _) in lent(run).items() if part == partition)


def test_a_free_device_takes_the_place_of_one_that_is_silent_with_its_rows(run: Run) -> None:
    lost = holder(run, 0)
    other = holder(run, 1)
    cluster.idle("spare")
    silence(lost, 31)
    with cluster.heard() as heard:
        (newcomer,) = substitution.replace_lost()
    assert lent(run) == {"spare": (0, 600), other: (1, 400)}
    assert (newcomer.device.name, newcomer.ready_at, newcomer.choice["sentence"] != "") == (
        "spare",
        None,
        True,
    )
    gone = [message for message in heard if message.get("type") == "gone"]
    assert [message["node"] for message in gone] == [Device.objects.get(name=lost).node_id]
    event = JobEvent.objects.get(code="device-replaced")
    assert event.sentence == f"spare takes the place of {lost}, which is away."
    assert event.run == run
    assert AuditEvent.objects.filter(action="device.substitute").count() == 1
    assert substitution.replace_lost() == []


def test_a_silent_device_keeps_its_place_while_nobody_can_take_it(run: Run) -> None:
    silence("desk-1", 31)
    assert substitution.replace_lost() == []
    assert set(lent(run)) == {"desk-1", "desk-2"}


def test_a_device_that_was_heard_of_lately_is_not_relieved(run: Run) -> None:
    cluster.idle("spare")
    silence("desk-1", 20)
    assert substitution.replace_lost() == []


def test_after_a_long_silence_a_device_is_given_back_and_gets_its_place_again_once_it_is_back(
    run: Run,
) -> None:
    before = lent(run)
    silence("desk-1", 301)
    assert substitution.replace_lost() == []
    assert set(lent(run)) == {"desk-2"}
    assert JobEvent.objects.get(code="device-released").sentence == "Goes on without desk-1, which is away."
    silence("desk-1", 0)
    (again,) = substitution.replace_lost()
    assert again.device.name == "desk-1"
    assert lent(run) == before
    assert Reservation.objects.filter(run=run).count() == 2


def test_one_that_had_the_part_before_is_preferred(run: Run) -> None:
    before = lent(run)
    for name in ("desk-1", "desk-2"):
        runs.release_device(Device.objects.get(name=name))
    assert len(substitution.replace_lost()) == 2
    assert lent(run) == before


def test_a_device_whose_owner_is_back_is_relieved_once_it_took_no_part_for_long(run: Run) -> None:
    cluster.idle("spare")
    mine = Device.objects.get(name="desk-1")
    participations.open_round(run, 2, [mine])
    Participation.objects.filter(device=mine).update(status=Participation.Status.PARKED)
    Device.objects.filter(pk=mine.pk).update(may_train=False)
    run.reservations.update(reserved_at=timezone.now() - timedelta(minutes=5))
    assert substitution.replace_lost() == []
    finish_round(run, 2)
    settled = Participation.objects.filter(device=mine)
    settled.update(status=Participation.Status.ACCEPTED, finished_at=timezone.now() - timedelta(seconds=20))
    assert substitution.replace_lost() == []
    settled.update(finished_at=timezone.now() - timedelta(seconds=31))
    assert [found.device.name for found in substitution.replace_lost()] == ["spare"]
    assert "whose owner is back" in JobEvent.objects.get(code="device-replaced").sentence


@pytest.mark.parametrize("fault", [{"problem": "data-missing: No file."}, {"rows_found": 599}])
def test_one_that_cannot_do_the_work_is_free_for_other_jobs_and_is_not_taken_again(
    run: Run, fault: dict[str, Any]
) -> None:
    lost = holder(run, 0)
    run.reservations.filter(device__name=lost).update(**fault)
    assert substitution.replace_lost() == []
    assert lost not in lent(run)
    assert any(lost in sentence for sentence in selectors.problems(run))
    cluster.idle("spare")
    assert [found.device.name for found in substitution.replace_lost()] == ["spare"]


def test_before_the_first_round_a_fault_does_not_go_through_the_whole_fleet() -> None:
    cluster.idle_devices(2)
    run = cluster.led(cluster.queued(**TWO))
    runs.prepared(run, ROWS)
    cluster.idle("spare")
    run.reservations.update(problem="error: It raises.")
    assert substitution.replace_lost() == []
    assert lent(run) == {}
    assert substitution.replace_lost() == []


def test_a_run_never_holds_more_than_it_began_with(run: Run) -> None:
    cluster.idle_devices(0)
    cluster.idle("spare")
    assert substitution.replace_lost() == []
    assert len(lent(run)) == 2


def test_nobody_joins_for_the_last_round(run: Run) -> None:
    cluster.idle("spare")
    runs.release_device(Device.objects.get(name="desk-1"))
    for number in (2, 3, 4):
        finish_round(run, number)
    assert substitution.replace_lost() == []


def test_nobody_joins_a_job_that_is_about_to_pause(run: Run) -> None:
    cluster.idle("spare")
    runs.release_device(Device.objects.get(name="desk-1"))
    pausing.pause(run.job, cluster.researcher())
    assert substitution.replace_lost() == []


def test_a_device_that_does_not_fit_takes_no_place(run: Run) -> None:
    cluster.idle("spare", may_start=False)
    cluster.idle("old", status=Device.Status.PENDING)
    runs.release_device(Device.objects.get(name="desk-1"))
    Device.objects.filter(name="desk-1").update(may_train=False)
    assert substitution.replace_lost() == []


def test_a_quota_that_is_used_up_leaves_the_place_free(run: Run) -> None:
    runs.release_device(Device.objects.get(name="desk-1"))
    quota = Quota.objects.create(user=run.job.owner, max_devices=1)
    assert substitution.replace_lost() == []
    quota.delete()
    assert len(substitution.replace_lost()) == 1


def test_a_run_that_ends_meanwhile_gets_nobody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.release_device(Device.objects.get(name="desk-1"))
    takers = substitution._takers

    def meanwhile(*args: Any) -> Any:
        found = takers(*args)
        runs.fail(Run.objects.get(pk=run.pk), "diverged", "Not finite.")
        return found

    monkeypatch.setattr(substitution, "_takers", meanwhile)
    assert substitution.replace_lost() == []
    assert not Reservation.objects.filter(released_at__isnull=True).exists()


def test_a_device_that_another_run_takes_meanwhile_is_left_to_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.release_device(Device.objects.get(name="desk-1"))
    takers = substitution._takers
    other = cluster.queued("Other", participation={"max_devices": 1})

    def meanwhile(*args: Any) -> Any:
        found = takers(*args)
        cluster.claimed(other)
        return found

    monkeypatch.setattr(substitution, "_takers", meanwhile)
    assert substitution.replace_lost() == []
    assert len(lent(run)) == 1


def test_a_place_of_a_whole_run_costs_as_few_queries_as_nothing(run: Run) -> None:
    with CaptureQueriesContext(
        connection,
    ) as whole:
        substitution.replace_lost()
    assert len(whole) <= 6
    jobs.cancel(run.job, cluster.researcher())
    runs.cancel(run, "test")
    with CaptureQueriesContext(connection) as nothing:
        substitution.replace_lost()
    assert len(nothing) == 1
