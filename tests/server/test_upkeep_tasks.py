"""What happens by itself after a round and by the clock."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from fl_server import tasks
from fl_server.models import Checkpoint, Device, Participation
from fl_server.services import rounds
from tests.server import cluster
from tests.server.test_reputation import rounds_of
from tests.server.test_retention import alive, job_with
from tests.server.test_rounds import FILE, report

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.CHECKPOINTS_DIR = tmp_path
    return tmp_path


def test_after_a_round_old_checkpoints_go_and_its_devices_are_judged() -> None:
    cluster.idle_devices(2)
    run = cluster.led(cluster.queued(checkpoints={"keep_last": 1}, evaluation="off"))
    rounds_of(run, 6, Participation.Status.REJECTED, reason_code="shape")
    for number in range(5):
        Checkpoint.objects.create(job=run.job, run=run, round_number=number, path=str(number), size=1)
    done = rounds.commit(run, report(6), FILE, evaluate=False)
    tasks.learn_from_round(done.pk)
    # Round 0 is what the run began with.
    assert alive(run) == [0, 6]
    assert Device.objects.filter(quarantined_at__isnull=False).count() == 1


def test_the_sweep_by_the_clock_stores_deltas_and_a_full_disk_only_removes() -> None:
    run = job_with(5, keep_last=3, storage="delta")
    Checkpoint.objects.update(metrics={"accuracy": 0.5})
    tasks.make_room()
    assert alive(run) == [2, 3, 4]
    assert not Checkpoint.objects.filter(storage="delta").exists()
    tasks.sweep_checkpoints()
    assert Checkpoint.objects.filter(storage="delta").count() == 1


@pytest.mark.parametrize("task", [tasks.sweep_checkpoints, tasks.review_reputations])
def test_the_clock_knows_the_sweeps(task: Any) -> None:
    assert task.name in {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}


def test_work_on_files_does_not_delay_the_ticks() -> None:
    assert settings.CELERY_TASK_ROUTES["fl_server.tasks.sweep_checkpoints"] == {"queue": "tests"}


def test_a_review_of_nobody_does_nothing() -> None:
    tasks.review_reputations()
