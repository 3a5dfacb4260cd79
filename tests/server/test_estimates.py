from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server import evaluation, kick, tasks
from fl_server.models import JobEvent, MemoryEstimate, TrainingJob
from fl_server.services import estimates, jobs, scheduling
from tests.server import cluster
from tests.server.world import SPEC

pytestmark = [pytest.mark.services, pytest.mark.django_db]

SAMPLE = {"name": "fashion-mnist", "options": {"source": "sample"}}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have gone to the queue."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(kick, "estimate", found.append)
    monkeypatch.setattr(tasks.estimate_memory, "apply_async", lambda args, **options: found.append(args[0]))
    return found


def submitted(**changes: Any) -> TrainingJob:
    document = {**SPEC, "dataset": SAMPLE, **changes}
    return jobs.create(cluster.researcher(), "Clothes", document, submit=True)


def aged(job: TrainingJob, seconds: float) -> None:
    """As if it had been submitted so long ago."""
    by = timedelta(seconds=seconds)
    TrainingJob.objects.filter(pk=job.pk).update(
        submitted_at=job.submitted_at - by, not_before=job.not_before - by
    )


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"rounds": 99, "seed": 3, "priority": 5}, True),
        ({"training": {"epochs": 7, "learning_rate": 0.2}}, True),
        ({"training": {"batch_size": 64}}, False),
        ({"training": {"optimizer": "adam"}}, False),
        ({"training": {"momentum": 0.9}}, False),
        ({"training": {"precision": "mixed"}}, False),
        ({"model": {"name": "cnn"}}, False),
        ({"dataset": {"name": "mnist"}}, False),
        ({"participation": {"max_devices": 3}}, False),
        ({"participation": {"max_devices": 3}, "partition": {"count": 10}}, True),
    ],
)
def test_jobs_share_an_estimate_where_nothing_that_it_depends_on_differs(
    changes: dict[str, Any], same: bool
) -> None:
    assert (estimates.key_of(cluster.wanted(**changes)) == estimates.key_of(cluster.wanted())) is same


def test_a_submitted_job_waits_for_its_estimate_and_says_so(asked: list[Any]) -> None:
    cluster.idle("desk")
    job = submitted()
    assert asked == [estimates.needs_of(cluster.wanted(dataset=SAMPLE))]
    assert scheduling.claim_next() == []
    job.refresh_from_db()
    assert "estimated" in job.waiting["sentence"]


def test_an_estimate_lets_the_jobs_start_that_waited_for_it_and_no_others(asked: list[Any]) -> None:
    cluster.idle_devices(2)
    job, other = submitted(participation={"max_devices": 1}), submitted(model={"name": "cnn"})
    evaluation.estimate(asked[0])
    job.refresh_from_db()
    other.refresh_from_db()
    kept = MemoryEstimate.objects.get()
    assert job.memory_bytes == kept.total_bytes > kept.parts["libraries"] > 0
    assert (job.not_before, other.memory_bytes) == (None, None)
    assert [run.job for run in scheduling.claim_next()] == [job]


def test_what_is_known_is_not_estimated_again(asked: list[Any]) -> None:
    job = submitted()
    tasks.estimate_memory(asked[0])
    before = MemoryEstimate.objects.get().created_at
    tasks.estimate_memory(asked[0])
    again = submitted(seed=9)
    assert len(asked) == 1
    assert MemoryEstimate.objects.get().created_at == before
    job.refresh_from_db()
    assert (again.memory_bytes, again.not_before) == (job.memory_bytes, None)


def test_what_the_specification_says_itself_is_believed(asked: list[Any]) -> None:
    job = submitted(requirements={"memory_gb": 1.5})
    assert (job.memory_bytes, job.not_before, asked) == (1_500_000_000, None, [])


def test_a_job_that_waits_for_a_later_time_keeps_it(asked: list[Any]) -> None:
    job = jobs.create(cluster.researcher(), "Tonight", {**SPEC, "dataset": SAMPLE})
    tonight = timezone.now() + timedelta(hours=8)
    jobs.submit(job, job.owner, start_at=tonight)
    evaluation.estimate(asked[0])
    job.refresh_from_db()
    assert (job.not_before, job.memory_bytes is None) == (tonight, False)


def test_a_question_without_an_answer_is_asked_again_by_the_tick(asked: list[Any]) -> None:
    job = submitted()
    tasks.tick()
    assert len(asked) == 1
    aged(job, 10)
    tasks.tick()
    assert asked == [asked[0]] * 2


def test_after_half_a_minute_a_job_starts_without_an_estimate_and_says_so_once() -> None:
    cluster.idle("desk")
    job = submitted(participation={"min_devices": 2, "max_devices": 2})
    aged(job, 31)
    tasks.tick()
    tasks.tick()
    said = JobEvent.objects.get(job=job, code="memory-unknown")
    assert "30 s" in said.sentence
    cluster.idle("second")
    assert [run.job for run in scheduling.claim_next()] == [job]


def test_an_estimate_that_comes_late_still_counts_for_a_job_in_the_queue(asked: list[Any]) -> None:
    job = submitted()
    aged(job, 31)
    tasks.tick()
    evaluation.estimate(asked[0])
    job.refresh_from_db()
    assert job.memory_bytes == MemoryEstimate.objects.get().total_bytes


def test_a_job_whose_data_the_server_lacks_gets_no_estimate(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("CONSTELLATION_DATA", str(tmp_path))
    submitted(dataset={"name": "fashion-mnist", "options": {"source": "folder"}})
    evaluation.estimate(asked[0])
    assert not MemoryEstimate.objects.exists()


def test_the_tick_with_nothing_to_estimate_asks_the_database_once(django_assert_num_queries: Any) -> None:
    from fl_server.services import estimate_waits

    with django_assert_num_queries(2):
        estimate_waits.give_up()
        estimate_waits.overdue()


def test_an_estimate_goes_before_the_tests_of_models(settings: Any) -> None:
    assert settings.CELERY_TASK_ROUTES[tasks.estimate_memory.name]["queue"] == "preparation"
    assert tasks.estimate_memory.acks_late
