"""When jobs are expected to start and to end, as their rows say it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fl_server.models import TrainingJob
from fl_server.services import jobs, quotas, scheduling
from tests.server import cluster, world
from tests.server.cluster import idle, idle_devices, queued

pytestmark = [pytest.mark.services, pytest.mark.django_db]

ONE_DEVICE = {"min_devices": 1, "max_devices": 1}


def test_no_job_is_expected_to_go_on_after_its_deadline() -> None:
    idle("desk")
    run = cluster.led(queued(rounds=5000))
    world.committed(run, 1, {})
    deadline = timezone.now() + timedelta(minutes=30)
    TrainingJob.objects.filter(pk=run.job_id).update(deadline_at=deadline)
    second = queued("second", rounds=5000, stopping={"deadline_hours": 2})
    third = queued("third")
    scheduling.claim_next()
    for job in (run.job, second, third):
        job.refresh_from_db()
    assert run.job.expected_end == second.expected_start == deadline
    assert second.expected_end == third.expected_start == deadline + timedelta(hours=2)


def test_a_job_that_ended_expects_nothing_any_more() -> None:
    idle("desk")
    run = cluster.led(queued(rounds=11))
    world.committed(run, 1, {})
    scheduling.claim_next()
    run.job.refresh_from_db()
    assert run.job.expected_end is not None
    jobs.cancel(run.job, cluster.researcher())
    run.job.refresh_from_db()
    assert (run.job.expected_start, run.job.expected_end) == (None, None)


def test_a_job_that_a_quota_holds_is_expected_when_a_run_of_the_person_ends() -> None:
    idle_devices(3)
    quotas.set_for(cluster.person("ada", "admin"), user=cluster.researcher(), max_running_jobs=1)
    run = cluster.led(queued("first", participation=ONE_DEVICE, rounds=100))
    world.committed(run, 1, {})
    held = queued("held", participation=ONE_DEVICE)
    scheduling.claim_next()
    for job in (held, run.job):
        job.refresh_from_db()
    assert held.waiting["quota"]
    assert held.expected_start == run.job.expected_end > timezone.now()
