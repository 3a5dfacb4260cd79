from typing import Any

import pytest
from django.db import IntegrityError, transaction

from fl_server.models import Device, Reservation, Run, TrainingJob
from fl_server.placement import explaining
from fl_server.services import runs, scheduling
from tests.server import cluster
from tests.server.cluster import idle, idle_devices, queued

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status


def test_a_reserved_device_works_on_another_run() -> None:
    idle("desk")
    cluster.claimed()
    waiting = queued("Second")
    assert scheduling.claim_next() == []
    waiting.refresh_from_db()
    assert waiting.waiting["unfit"] == {"desk": "works on another run"}


def test_a_job_takes_the_devices_that_fit_up_to_its_most() -> None:
    idle_devices(4)
    run = cluster.claimed(queued(participation={"max_devices": 3}))
    assert run.partitions == 3
    assert sorted(run.reservations.values_list("partition", flat=True)) == [0, 1, 2]
    assert run.job.status == Status.RUNNING
    assert run.first_round == 1


def test_a_declared_count_of_partitions_is_kept() -> None:
    idle_devices(2)
    run = cluster.claimed(queued(partition={"count": 20}, participation={"max_devices": 5}))
    assert run.partitions == 20
    assert sorted(run.reservations.values_list("partition", flat=True)) == [0, 1]


def test_a_job_that_waits_says_how_many_devices_it_needs_and_why_each_does_not_fit() -> None:
    idle("desk-1")
    idle("desk-2", may_train=False, decision_codes=["on-battery"])
    idle("desk-3", last_seen=None)
    idle("gone", status=Device.Status.REVOKED)
    job = queued(participation={"min_devices": 3})
    assert scheduling.claim_next() == []
    job.refresh_from_db()
    assert job.status == Status.QUEUED
    assert job.waiting == {
        "sentence": "Waits for devices: 3 needed, 1 fit now.",
        "needed": 3,
        "fit": 1,
        "unfit": {"desk-2": "runs on battery", "desk-3": "is offline"},
        "unfit_more": 0,
        "position": 1,
        "give_up_at": None,
        "then": "",
    }


def test_of_many_unfit_devices_the_first_are_named_and_the_rest_counted() -> None:
    for number in range(explaining.SHOWN_REASONS + 3):
        idle(f"desk-{number:02d}", may_train=False)
    job = queued()
    scheduling.claim_next()
    job.refresh_from_db()
    assert len(job.waiting["unfit"]) == explaining.SHOWN_REASONS
    assert job.waiting["unfit_more"] == 3


def test_two_devices_of_the_same_name_have_a_reason_each() -> None:
    idle("laptop", may_train=False, decision_codes=["on-battery"])
    idle("laptop", last_seen=None)
    job = queued()
    scheduling.claim_next()
    job.refresh_from_db()
    assert sorted(job.waiting["unfit"].values()) == ["is offline", "runs on battery"]


def test_higher_priority_goes_first_and_among_equals_who_came_first() -> None:
    idle("desk")
    late = queued("late", age=1)
    early = queued("early", age=60)
    urgent = queued("urgent", priority=5)
    order = []
    while claimed := scheduling.claim_next():
        assert len(claimed) == 1
        order.append(claimed[0].job)
        runs.cancel(claimed[0], "test")
        TrainingJob.objects.filter(pk=claimed[0].job_id).update(status=Status.CANCELLED)
    assert order == [urgent, early, late]


def test_a_job_that_nothing_fits_does_not_hold_up_the_next() -> None:
    idle("desk")
    queued("greedy", priority=9, participation={"min_devices": 5})
    modest = queued("modest")
    assert [run.job for run in scheduling.claim_next()] == [modest]


def test_a_job_whose_specification_is_no_longer_valid_fails_and_holds_up_nobody() -> None:
    idle("desk")
    broken = queued("broken", priority=9)
    TrainingJob.objects.filter(pk=broken.pk).update(spec={**broken.spec, "model": {"name": "dropped"}})
    modest = queued("modest")
    assert [run.job for run in scheduling.claim_next()] == [modest]
    broken.refresh_from_db()
    assert (broken.status, broken.reason_code) == (Status.FAILED, "invalid-spec")
    assert "dropped" in broken.reason


def test_the_cap_on_runs_leaves_the_rest_in_the_queue(settings: Any) -> None:
    settings.MAX_RUNS = 1
    idle_devices(2)
    first, second = queued("first", priority=1, participation={"max_devices": 1}), queued("second")
    assert [run.job for run in scheduling.claim_next()] == [first]
    second.refresh_from_db()
    assert second.status == Status.QUEUED
    assert second.waiting["sentence"] == "1 runs are active, which is the most allowed."


def test_a_device_works_for_one_run_at_a_time() -> None:
    device = idle("desk")
    run = cluster.claimed()
    other = Run.objects.create(job=queued("other"), number=1, fence=1, partitions=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Reservation.objects.create(run=other, device=device, partition=0)
    runs.cancel(run, "test")
    Reservation.objects.create(run=other, device=device, partition=0)


def test_a_claim_that_loses_one_device_takes_none() -> None:
    devices = idle_devices(2)
    cluster.claimed(queued("first", participation={"max_devices": 1}))
    taken = Reservation.objects.get().device
    (free,) = (one for one in devices if one != taken)
    job = queued("second")
    with pytest.raises(IntegrityError):
        runs.claim(job, [(free, 0), (taken, 1)], 2)
    assert Reservation.objects.count() == 1
    assert TrainingJob.objects.get(pk=job.pk).status == Status.QUEUED


def dealt(devices: list[Device], partitions: int, before: dict[Any, int]) -> list[int]:
    shares = scheduling.deal(devices, partitions, before)
    assert [device for device, _ in shares] == devices
    return [partition for _, partition in shares]


def test_each_device_is_dealt_a_partition_of_its_own() -> None:
    a, b, c = idle_devices(3)
    assert dealt([a, b, c], 3, {}) == [0, 1, 2]
    assert dealt([a, b, c], 5, {c.pk: 0}) == [1, 2, 0]


def test_a_device_keeps_the_partition_that_it_had() -> None:
    a, b, c = idle_devices(3)
    assert dealt([c, a, b], 3, {a.pk: 2, b.pk: 0}) == [1, 2, 0]


def test_a_partition_that_no_longer_exists_is_not_kept() -> None:
    a, b = idle_devices(2)
    assert dealt([a, b], 2, {a.pk: 7}) == [0, 1]


def test_two_devices_that_had_the_same_partition_do_not_both_keep_it() -> None:
    a, b, c = idle_devices(3)
    assert dealt([a, b, c], 3, {a.pk: 1, b.pk: 1, c.pk: 0}) == [1, 2, 0]


def test_the_next_attempt_cuts_the_dataset_as_the_first_did() -> None:
    devices = idle_devices(3)
    first = cluster.led()
    before = dict(first.reservations.values_list("device_id", "partition"))
    runs.fail(first, "serverapp-lost", "gone")
    Device.objects.filter(pk=devices[0].pk).update(last_seen=None)
    second = cluster.claimed(first.job)
    assert (second.partitions, second.number, second.fence) == (3, 2, 2)
    assert second.reservations.count() == 2
    assert all(before[r.device_id] == r.partition for r in second.reservations.all())
