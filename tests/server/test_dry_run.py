from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from fl_server import kick
from fl_server.models import AuditEvent, Device, MemoryEstimate, Quota, TrainingJob
from fl_server.selectors import dry_run
from fl_server.services import estimates
from tests.server import cluster, world
from tests.server.world import SPEC, World, client

pytestmark = [pytest.mark.services, pytest.mark.django_db]

GB = 1_000_000_000


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(kick, "estimate", found.append)
    return found


def found(memory: int | None = None, **changes: Any) -> dry_run.DryRun:
    return dry_run.of(cluster.researcher().pk, cluster.wanted(**changes), memory)


def trained(seconds: float, **changes: Any) -> TrainingJob:
    """A job of the past that took so long for each of two rounds."""
    job = cluster.queued("past", **changes)
    run = cluster.claimed(job)
    now = timezone.now()
    for number in (1, 2):
        done = world.committed(run, number, {})
        done.started_at, done.finished_at = now - timedelta(seconds=seconds), now
        done.save()
    run.reservations.update(released_at=now)
    run.status = "completed"
    run.save()
    job.status, job.started_at, job.finished_at = "completed", now, now
    job.save()
    return job


def test_where_enough_devices_are_free_it_would_start_at_once() -> None:
    cluster.idle_devices(3)
    answer = found(participation={"min_devices": 2, "max_devices": 10})
    assert (answer.starts, answer.needed, answer.selected) == ("now", 2, 10)
    assert (answer.devices, answer.fit, answer.fit_now, answer.position) == (3, 3, 3, 1)
    assert answer.reasons == ()
    assert answer.sentence == "3 devices fit, 3 of them now; the job takes 2 to 10. It would start at once."


def test_it_says_how_many_fit_how_many_now_and_why_the_others_do_not() -> None:
    cluster.idle("free")
    for n in range(5):
        cluster.idle(f"small-{n}", hardware={"cores": 2, "ram_bytes": 2 * GB, "gpus": []})
    cluster.idle("away", last_seen=None)
    cluster.idle("used", may_start=False, decision_codes=["in-use"])
    cluster.idle("gone", status=Device.Status.REVOKED)
    answer = found(requirements={"min_cores": 4}, participation={"min_devices": 2})
    assert (answer.devices, answer.fit, answer.fit_now) == (8, 3, 1)
    assert [(r.reason, r.lasting, r.devices, r.names) for r in answer.reasons] == [
        ("has fewer than 4 cores", True, 5, ("small-0", "small-1", "small-2")),
        ("is being used", False, 1, ("used",)),
        ("is offline", False, 1, ("away",)),
    ]
    assert answer.starts == "later"
    assert "It would wait for devices." in answer.sentence


def test_a_device_that_is_away_and_would_not_do_either_counts_for_what_lasts() -> None:
    cluster.idle("old", last_seen=None, hardware={"cores": 1, "ram_bytes": GB, "gpus": []})
    (reason,) = found(requirements={"gpu": True}).reasons
    assert (reason.reason, reason.lasting) == ("has no GPU", True)


def test_requirements_that_nobody_meets_are_called_vain() -> None:
    cluster.idle_devices(2)
    answer = found(requirements={"labels": {"room": "moon"}})
    assert (answer.starts, answer.fit, answer.expected_start) == ("never", 0, None)
    assert "in vain" in answer.sentence


def test_an_empty_fleet_is_no_failure() -> None:
    answer = found()
    assert (answer.starts, answer.devices, answer.reasons) == ("never", 0, ())


def test_memory_that_is_known_keeps_small_devices_out() -> None:
    cluster.idle("large", telemetry={"ram_free_bytes": 9 * GB})
    cluster.idle("full", telemetry={"ram_free_bytes": GB})
    answer = found(4 * GB)
    assert (answer.fit_now, answer.memory_bytes, answer.memory) == (1, 4 * GB, "estimated")
    assert [reason.names for reason in answer.reasons] == [("full",)]
    assert found(memory=None).memory == "unknown"
    assert found(4 * GB, requirements={"memory_gb": 4}).memory == "given"


def test_a_job_like_it_tells_how_long_it_will_take() -> None:
    cluster.idle("desk")
    trained(12.0)
    answer = found(rounds=10)
    assert answer.expected_seconds == pytest.approx(120, abs=1)
    assert answer.expected_start is not None
    assert answer.expected_end == answer.expected_start + timedelta(seconds=answer.expected_seconds)
    assert found(model={"name": "cnn"}).expected_seconds is None


def test_behind_a_running_job_it_would_start_when_that_ends() -> None:
    cluster.idle("desk")
    run = cluster.led()
    ends = timezone.now() + timedelta(minutes=7)
    TrainingJob.objects.filter(pk=run.job_id).update(expected_end=ends)
    answer = found()
    assert (answer.starts, answer.fit, answer.fit_now, answer.expected_start) == ("later", 1, 0, ends)
    assert [reason.reason for reason in answer.reasons] == ["works on another run"]


def test_its_place_in_the_queue_is_behind_those_that_matter_as_much() -> None:
    for name, priority in (("low", -5), ("same", 0), ("high", 5)):
        cluster.queued(name, priority=priority)
    assert [found(priority=p).position for p in (-10, 0, 3, 50)] == [4, 3, 2, 1]


def test_where_others_go_first_and_take_all_it_waits_its_turn() -> None:
    cluster.idle("desk")
    cluster.queued("first", priority=9)
    answer = found()
    assert (answer.starts, answer.position, answer.expected_start) == ("later", 2, None)
    assert "1 goes first" in answer.sentence


def test_all_runs_taken_is_said(settings: Any) -> None:
    settings.MAX_RUNS = 1
    cluster.idle_devices(2)
    cluster.led(cluster.queued(participation={"max_devices": 1}))
    answer = found()
    assert answer.starts == "later"
    assert "1 runs are active" in answer.sentence


def test_a_quota_that_is_used_up_is_said() -> None:
    cluster.idle_devices(2)
    Quota.objects.create(user=cluster.researcher(), max_running_jobs=1)
    cluster.led(cluster.queued(participation={"max_devices": 1}))
    answer = found()
    assert (answer.starts, answer.fit_now) == ("later", 1)
    assert "quota of rosa" in answer.sentence


def test_behind_a_quota_it_would_start_when_a_run_of_the_person_ends() -> None:
    cluster.idle_devices(2)
    Quota.objects.create(user=cluster.researcher(), max_running_jobs=1)
    run = cluster.led(cluster.queued(participation={"max_devices": 1}))
    ends = timezone.now() + timedelta(minutes=7)
    TrainingJob.objects.filter(pk=run.job_id).update(expected_end=ends)
    answer = found(participation={"max_devices": 1})
    assert (answer.starts, answer.expected_start) == ("later", ends)


def test_it_would_not_go_on_after_its_deadline() -> None:
    cluster.idle("desk")
    trained(12.0)
    assert found(rounds=1000, stopping={"deadline_hours": 0.5}).expected_seconds == 1800


def test_it_costs_the_same_queries_however_many_devices_and_jobs_there_are(
    django_assert_max_num_queries: Any,
) -> None:
    cluster.idle_devices(30)
    for n in range(10):
        cluster.queued(f"job {n}")
    wanted, owner = cluster.wanted(), cluster.researcher().pk
    with django_assert_max_num_queries(12):
        dry_run.of(owner, wanted, None)


def test_the_api_answers_without_making_anything(world: World, asked: list[Any]) -> None:
    before = TrainingJob.objects.count()
    answer = client(world.researcher).post(reverse("api:job-dry-run"), SPEC, format="json")
    assert answer.status_code == 200
    body = answer.json()
    assert body["memory"] == "unknown"
    assert body["memory_bytes"] is None
    assert {reason["reason"] for reason in body["reasons"]} >= {"waits for approval"}
    assert asked == [estimates.needs_of(cluster.wanted())]
    assert (TrainingJob.objects.count(), AuditEvent.objects.count()) == (before, 0)


def test_the_api_says_what_was_estimated(world: World) -> None:
    key = estimates.key_of(cluster.wanted())
    MemoryEstimate.objects.create(key=key, total_bytes=700_000_000)
    body = client(world.researcher).post(reverse("api:job-dry-run"), SPEC, format="json").json()
    assert (body["memory"], body["memory_bytes"]) == ("estimated", 700_000_000)


def test_a_faulty_specification_is_answered_with_its_faults(world: World) -> None:
    answer = client(world.researcher).post(reverse("api:job-dry-run"), {**SPEC, "rounds": 0}, format="json")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid-spec"
    assert error["errors"][0]["field"] == "rounds"
