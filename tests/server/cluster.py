"""Jobs that wait and devices that are free, for tests of what the platform does by itself."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.contrib.auth import get_user_model
from django.test import TestCase
from django.utils import timezone

from fl_server import bus, roles, spec
from fl_server.models import Device, Run, TrainingJob
from fl_server.services import runs, scheduling
from tests.server import world

HARDWARE = {
    "cores": 8,
    "ram_bytes": 16_000_000_000,
    "gpus": [{"name": "G", "total_bytes": 8_000_000_000, "free_bytes": 7_000_000_000}],
}


def person(name: str, role: str) -> Any:
    known = get_user_model().objects.filter(username=name).first()
    return known or world.person(name, role)


def researcher() -> Any:
    return person("rosa", roles.RESEARCHER)


def wanted(**changes: Any) -> spec.JobSpec:
    return spec.parse({**world.SPEC, **changes})


def queued(name: str = "Clothes", *, priority: int = 0, age: float = 0.0, **changes: Any) -> TrainingJob:
    """A job in the queue since `age` seconds."""
    return TrainingJob.objects.create(
        owner=researcher(),
        name=name,
        spec=wanted(**changes).model_dump(mode="json"),
        status=TrainingJob.Status.QUEUED,
        priority=priority,
        submitted_at=timezone.now() - timedelta(seconds=age),
    )


def idle(name: str, **fields: Any) -> Device:
    """A device that is approved, registered, online and allowed to train."""
    facts = {"node_id": str(secrets.randbits(64)), "last_seen": timezone.now(), "hardware": HARDWARE}
    return world.device(person("otto", roles.OWNER), name, **(facts | fields))


def idle_devices(count: int) -> list[Device]:
    return [idle(f"desk-{number}") for number in range(1, count + 1)]


def claimed(job: TrainingJob | None = None) -> Run:
    """The run of a job that the scheduler just started."""
    job = job or queued()
    TrainingJob.objects.filter(pk=job.pk).update(not_before=None)  # a test does not wait for the next attempt
    runs_of_job = [run for run in scheduling.claim_next() if run.job_id == job.pk]
    assert len(runs_of_job) == 1, TrainingJob.objects.get(pk=job.pk).waiting
    return runs_of_job[0]


def led(job: TrainingJob | None = None) -> Run:
    """A claimed run whose ServerApp has started."""
    run = claimed(job)
    assert runs.launched(run)
    return runs.start(run)


def let_lease_lapse(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


@contextmanager
def heard() -> Iterator[list[dict[str, Any]]]:
    """What goes out over the bus when the transactions inside commit: the payloads, with their group."""
    payloads: list[dict[str, Any]] = []

    def send(group: str, message: dict[str, Any]) -> None:
        payloads.append({"group": group, **message["payload"]})

    with (
        mock.patch.object(bus, "get", return_value=SimpleNamespace(send=send)),
        TestCase.captureOnCommitCallbacks(execute=True),
    ):
        yield payloads
