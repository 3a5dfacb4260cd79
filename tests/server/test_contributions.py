from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server.models import Contribution, Device, Participation, Run, TrainingJob
from fl_server.models.contributions import AddedOnly
from fl_server.selectors import contributions as selectors
from fl_server.selectors.contributions import GroupBy
from fl_server.services import contributions, participations, rounds
from tests.server import cluster, world
from tests.server.test_rounds import FILE, report

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = Participation.Status


@pytest.fixture
def run() -> Run:
    cluster.idle_devices(3)
    return cluster.led()


def answered(run: Run, number: int = 1, **energies: float | None) -> list[Device]:
    """All devices are asked; two are accepted, one is rejected."""
    devices = list(Device.objects.order_by("name"))
    participations.open_round(run, number, devices)
    for device, status in zip(devices, (Status.ACCEPTED, Status.ACCEPTED, Status.REJECTED), strict=True):
        participations.settle(run, number, device, status, examples=600, seconds=3.0)
    Participation.objects.filter(device=devices[0]).update(energy_wh=1.5)
    return devices


def given(owner: Any, device: Device, **facts: Any) -> Contribution:
    values = {"job_name": "Clothes", "round_number": 1, "examples": 10, "seconds": 2.0, "at": timezone.now()}
    return Contribution.objects.create(owner=owner, device=device, **(values | facts))


def test_a_committed_round_leaves_a_row_for_each_accepted_answer(run: Run) -> None:
    first, second, _ = answered(run)
    rounds.commit(run, report(), FILE, evaluate=False)
    rows = list(Contribution.objects.order_by("device__name"))
    assert [(row.device, row.examples, row.seconds, row.energy_wh) for row in rows] == [
        (first, 600, 3.0, 1.5),
        (second, 600, 3.0, None),
    ]
    assert {(row.owner, row.job, row.job_name, row.round_number) for row in rows} == {
        (first.owner, run.job, run.job.name, 1)
    }


def test_a_round_that_is_committed_twice_is_noted_once(run: Run) -> None:
    answered(run)
    rounds.commit(run, report(), FILE, evaluate=False)
    rounds.commit(run, report(), FILE, evaluate=False)
    assert contributions.record(run, 1) == 0
    assert Contribution.objects.count() == 2


def test_a_round_that_is_not_committed_leaves_nothing(run: Run) -> None:
    answered(run)
    Run.objects.filter(pk=run.pk).update(fence=9)
    with pytest.raises(rounds.runs.Superseded):
        rounds.commit(run, report(), FILE, evaluate=False)
    assert not Contribution.objects.exists()


def test_what_the_device_measured_counts_rather_than_how_long_it_was_waited_for(run: Run) -> None:
    first, *_ = answered(run)
    Participation.objects.filter(device=first).update(train_seconds=1.0, transfer_seconds=0.5)
    contributions.record(run, 1)
    assert Contribution.objects.get(device=first).seconds == 1.5


def test_a_device_cannot_claim_more_time_or_energy_than_there_was(run: Run) -> None:
    answered(run)
    Participation.objects.update(train_seconds=1e7, transfer_seconds=1e7, energy_wh=1e7)
    rounds.commit(run, report(1), FILE, evaluate=False)
    for row in Contribution.objects.all():
        assert row.seconds == 3.0
        assert row.energy_wh == 3.0 * contributions.MOST_WATTS / 3600


def test_rows_are_neither_changed_nor_deleted(run: Run) -> None:
    answered(run)
    contributions.record(run, 1)
    row = Contribution.objects.first()
    assert row
    row.examples = 10**9
    for rewrite in (
        row.save,
        row.delete,
        Contribution.objects.all().delete,
        lambda: Contribution.objects.update(examples=0),
        lambda: Contribution.objects.bulk_update([row], ["examples"]),
    ):
        with pytest.raises(AddedOnly):
            rewrite()
    row.refresh_from_db()
    assert row.examples == 600


def test_rows_outlive_their_job(run: Run) -> None:
    answered(run)
    contributions.record(run, 1)
    TrainingJob.objects.filter(pk=run.job_id).delete()
    rows = Contribution.objects.all()
    assert [(row.job, row.participation, row.job_name) for row in rows] == [(None, None, "Clothes")] * 2


def test_sums_are_made_by_owner_device_job_and_month() -> None:
    otto, olga = world.person("otto"), world.person("olga")
    desk, home, other = world.device(otto, "desk"), world.device(otto, "home"), world.device(olga, "other")
    july, august = datetime(2026, 7, 31, 23, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
    given(otto, desk, at=july, energy_wh=1.0)
    given(otto, home, at=august, energy_wh=None, seconds=5.0)
    given(olga, other, at=august, energy_wh=None, job_name="Sounds")
    rows = Contribution.objects.all()

    def by(group: GroupBy) -> list[tuple[Any, ...]]:
        return [
            (t.name, t.rows, t.examples, t.seconds, t.energy_wh, t.energy_known)
            for t in selectors.totals(rows, group)
        ]

    assert by(GroupBy.OWNER) == [("otto", 2, 20, 7.0, 1.0, 1), ("olga", 1, 10, 2.0, None, 0)]
    assert [row[0] for row in by(GroupBy.DEVICE)] == ["home", *sorted(["desk", "other"], key=_key)]
    assert by(GroupBy.JOB) == [("Clothes", 2, 20, 7.0, 1.0, 1), ("Sounds", 1, 10, 2.0, None, 0)]
    assert by(GroupBy.MONTH) == [("2026-08", 2, 20, 7.0, None, 0), ("2026-07", 1, 10, 2.0, 1.0, 1)]
    assert selectors.months(rows) == [august, datetime(2026, 7, 1, tzinfo=UTC)]
    december = datetime(2026, 12, 1, tzinfo=UTC)
    given(otto, desk, at=december + timedelta(days=30))
    given(otto, desk, at=december + timedelta(days=31))
    assert selectors.of_month(rows, december).count() == 1


def _key(name: str) -> Any:
    return Device.objects.get(name=name).pk.hex


def test_sums_cost_one_query(run: Run, django_assert_num_queries: Any) -> None:
    answered(run)
    contributions.record(run, 1)
    with django_assert_num_queries(1):
        selectors.totals(Contribution.objects.all(), GroupBy.DEVICE)


def test_reading_row_by_row_leaves_none_out(monkeypatch: Any) -> None:
    otto = world.person("otto")
    desk = world.device(otto, "desk")
    made = [given(otto, desk, examples=number).pk for number in range(5)]
    monkeypatch.setattr(selectors, "ROWS_AT_ONCE", 2)
    assert [row.pk for row in selectors.one_by_one(Contribution.objects.all())] == made
