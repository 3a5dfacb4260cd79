from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server import roles
from fl_server.exceptions import Conflict, InvalidInput, InvalidSpec, NotAllowed
from fl_server.models import AuditEvent, JobEvent, TrainingJob
from fl_server.services import jobs, scheduling
from tests.server import cluster, world

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = TrainingJob.Status


def draft(owner: Any, **options: Any) -> TrainingJob:
    return jobs.create(owner, "Clothes", world.SPEC, **options)


def test_a_job_begins_as_a_draft_with_its_whole_specification() -> None:
    job = jobs.create(cluster.researcher(), "  Clothes ", {**world.SPEC, "priority": 7})
    job.refresh_from_db()
    assert (job.name, job.status, job.priority, job.submitted_at) == ("Clothes", Status.DRAFT, 7, None)
    assert job.spec["training"]["batch_size"] == 32
    assert list(AuditEvent.objects.values_list("action", "target")) == [("job.create", f"job:{job.pk}")]


def test_a_job_can_be_queued_at_once() -> None:
    job = draft(cluster.researcher(), submit=True)
    assert job.status == Status.QUEUED
    assert job.submitted_at is not None
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {"job.create", "job.submit"}


@pytest.mark.parametrize("role", ["", roles.OWNER, roles.VIEWER])
def test_only_researchers_and_admins_create_jobs(role: str) -> None:
    with pytest.raises(NotAllowed):
        draft(world.person("pat", role))
    assert not TrainingJob.objects.exists()


def test_an_inactive_researcher_creates_none() -> None:
    person = cluster.researcher()
    person.is_active = False
    with pytest.raises(NotAllowed):
        draft(person)


@pytest.mark.parametrize("name", ["", "   ", "x" * 121])
def test_a_name_has_1_to_120_characters(name: str) -> None:
    with pytest.raises(InvalidInput, match="allowed are 1 to 120") as caught:
        jobs.create(cluster.researcher(), name, world.SPEC)
    assert caught.value.field == "name"


def test_a_bad_specification_leaves_nothing_behind() -> None:
    with pytest.raises(InvalidSpec):
        jobs.create(cluster.researcher(), "Clothes", {**world.SPEC, "rounds": 0})
    assert not TrainingJob.objects.exists()
    assert not AuditEvent.objects.exists()


def test_the_same_key_of_the_same_owner_gives_the_same_job() -> None:
    owner = cluster.researcher()
    first = draft(owner, submit=True, idempotency_key="k")
    assert draft(owner, submit=True, idempotency_key="k") == first
    assert draft(world.person("rudi", roles.RESEARCHER), idempotency_key="k") != first
    assert TrainingJob.objects.count() == 2


def test_jobs_without_a_key_are_all_new() -> None:
    owner = cluster.researcher()
    assert len({draft(owner).pk, draft(owner, idempotency_key="").pk, draft(owner).pk}) == 3


def test_a_lost_race_for_a_key_gives_the_winners_job(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = cluster.researcher()
    winner = draft(owner, idempotency_key="k")
    looks = iter([None, winner])
    monkeypatch.setattr(jobs, "_by_key", lambda *_: next(looks))
    assert draft(owner, idempotency_key="k") == winner
    assert AuditEvent.objects.filter(action="job.create").count() == 1


def test_a_draft_is_submitted_once() -> None:
    owner = cluster.researcher()
    job = draft(owner)
    assert jobs.submit(job, owner).status == Status.QUEUED
    with pytest.raises(Conflict):
        jobs.submit(job, owner)
    assert AuditEvent.objects.filter(action="job.submit").count() == 1


def test_a_job_starts_at_its_time_and_not_before() -> None:
    cluster.idle("desk")
    job = draft(cluster.researcher())
    at = timezone.now() + timedelta(hours=2)
    jobs.submit(job, cluster.researcher(), start_at=at)
    assert (job.status, job.not_before) == (Status.QUEUED, at)
    assert JobEvent.objects.get(job=job).sentence == f"Starts on {at:%d %B %Y at %H:%M %Z} at the earliest."
    assert scheduling.claim_next() == []


def test_a_time_that_is_past_means_at_once() -> None:
    job = draft(cluster.researcher(), submit=True, start_at=timezone.now() - timedelta(hours=2))
    assert job.not_before is None or job.not_before > timezone.now()


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.DRAFT}))
def test_only_a_draft_is_submitted(status: str) -> None:
    job = world.job(cluster.researcher(), "Clothes", status)
    with pytest.raises(Conflict, match=f"is {status}"):
        jobs.submit(job, cluster.researcher())
    assert TrainingJob.objects.get().status == status


@pytest.mark.parametrize("action", [jobs.submit, jobs.cancel])
def test_only_the_owner_or_an_admin_changes_a_job(action: Any) -> None:
    job = draft(cluster.researcher())
    for stranger in (world.person("rudi", roles.RESEARCHER), world.person("vera", roles.VIEWER)):
        with pytest.raises(NotAllowed):
            action(job, stranger)
    action(job, world.person("ada", roles.ADMIN))
    job.refresh_from_db()
    assert job.status != Status.DRAFT


def test_an_owner_who_lost_the_role_changes_nothing_any_more() -> None:
    owner = cluster.researcher()
    job = draft(owner)
    owner.groups.clear()
    with pytest.raises(NotAllowed):
        jobs.cancel(job, owner)


def test_a_cancelled_job_says_by_whom_and_waits_for_nothing() -> None:
    owner = cluster.researcher()
    job = draft(owner, submit=True)
    jobs.explain_waiting(job, {"sentence": "Waits."})
    jobs.cancel(job, owner)
    job.refresh_from_db()
    assert (job.status, job.reason_code, job.waiting) == (Status.CANCELLED, "cancelled", {})
    assert "rosa" in job.reason
    assert job.finished_at is not None
    with pytest.raises(Conflict):
        jobs.cancel(job, owner)


def test_only_a_queued_job_waits() -> None:
    job = draft(cluster.researcher())
    jobs.explain_waiting(job, {"sentence": "Waits."})
    job.refresh_from_db()
    assert job.waiting == {}
