"""One small world: five people, three jobs, three devices, one enrolment code. Each sees a part."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone
from rest_framework.test import APIClient

from fl_server import roles, spec
from fl_server.models import (
    Checkpoint,
    Device,
    EnrolmentCode,
    Participation,
    Reservation,
    Round,
    Run,
    Schedule,
    TrainingJob,
)

WEIGHTS = b"weights of round 2"
SPEC = {
    "model": {"name": "lenet"},
    "dataset": {"name": "fashion-mnist"},
    "rounds": 5,
    "metric": {"name": "accuracy", "direction": "maximize"},
}


@dataclass
class World:
    admin: Any
    researcher: Any
    viewer: Any
    owner: Any
    outsider: Any
    running: TrainingJob
    draft: TrainingJob
    foreign: TrainingJob
    training: Device
    pending: Device
    foreign_device: Device
    checkpoint: Checkpoint
    code: EnrolmentCode
    schedule: Schedule

    @property
    def people(self) -> dict[str, Any]:
        return {
            "outsider": self.outsider,
            "owner": self.owner,
            "viewer": self.viewer,
            "researcher": self.researcher,
            "admin": self.admin,
        }


def person(name: str, role: str = "") -> Any:
    user = get_user_model().objects.create_user(name)
    if role:
        user.groups.add(Group.objects.get_or_create(name=role)[0])
    return user


def job(owner: Any, name: str, status: str = TrainingJob.Status.QUEUED, **fields: Any) -> TrainingJob:
    full = spec.parse(SPEC).model_dump(mode="json")
    return TrainingJob.objects.create(owner=owner, name=name, spec=full, status=status, **fields)


def device(owner: Any, name: str, status: str = Device.Status.APPROVED, **fields: Any) -> Device:
    keys = {"identity_key": secrets.token_hex(16), "node_key": secrets.token_hex(16)}
    return Device.objects.create(owner=owner, name=name, status=status, **keys, **fields)


def committed(run: Run, number: int, evaluation: dict[str, float]) -> Round:
    now = timezone.now()
    return Round.objects.create(
        job=run.job,
        run=run,
        number=number,
        started_at=now - timedelta(seconds=2),
        finished_at=now,
        examples=600 * number,
        accepted=2,
        metrics={"train-loss": 1.0 / number},
        evaluation=evaluation,
    )


def running_job(owner: Any, lent: Device) -> TrainingJob:
    """Two of five rounds are done, the second is not yet evaluated; one device is reserved."""
    made = job(owner, "Clothes by night", TrainingJob.Status.RUNNING)
    run = Run.objects.create(job=made, number=1, fence=1, partitions=2, status=Run.Status.RUNNING)
    Reservation.objects.create(run=run, device=lent, partition=0)
    committed(run, 1, {"loss": 0.9, "accuracy": 0.61})
    committed(run, 2, {})
    accepted = Participation.Status.ACCEPTED
    Participation.objects.create(run=run, round_number=1, device=lent, status=accepted, examples=600)
    Participation.objects.create(run=run, round_number=2, device=lent, status=Participation.Status.TRAINING)
    return made


def stored_checkpoint(of: TrainingJob) -> Checkpoint:
    name = f"{secrets.token_hex(4)}.safetensors"
    (Path(settings.CHECKPOINTS_DIR) / name).write_bytes(WEIGHTS)
    checkpoint = Checkpoint.objects.create(
        job=of,
        run=of.runs.get(),
        round_number=2,
        path=name,
        sha256=sha256(WEIGHTS).hexdigest(),
        size=len(WEIGHTS),
    )
    of.best_checkpoint = checkpoint
    of.save()
    return checkpoint


def scheduled(owner: Any) -> Schedule:
    """Every night; the next one is still to come."""
    return Schedule.objects.create(
        owner=owner,
        name="Clothes again",
        spec=spec.parse(SPEC).model_dump(mode="json"),
        kind=Schedule.Kind.CRON,
        cron="30 2 * * *",
        timezone="Europe/Berlin",
        settled_until=timezone.now() + timedelta(days=1),
    )


@pytest.fixture
def world(db: None) -> World:
    admin, researcher = person("ada", roles.ADMIN), person("rosa", roles.RESEARCHER)
    owner = person("otto", roles.OWNER)
    training = device(owner, "otto-desk", last_seen=timezone.now(), labels={"room": "lab"})
    running = running_job(researcher, training)
    return World(
        admin=admin,
        researcher=researcher,
        viewer=person("vera", roles.VIEWER),
        owner=owner,
        outsider=person("olaf"),
        running=running,
        draft=job(researcher, "Not yet", TrainingJob.Status.DRAFT),
        foreign=job(person("rudi", roles.RESEARCHER), "Somebody else's"),
        training=training,
        pending=device(owner, "otto-home", Device.Status.PENDING),
        foreign_device=device(person("olga", roles.OWNER), "olga-desk"),
        checkpoint=stored_checkpoint(running),
        code=EnrolmentCode.objects.create(
            label="Otto's machines",
            secret_hash="0" * 64,
            owner=owner,
            created_by=owner,
            approves=False,
            max_uses=2,
            expires_at=timezone.now() + timedelta(days=1),
        ),
        schedule=scheduled(researcher),
    )


def client(user: Any = None) -> APIClient:
    """Comes from an address of its own, so that one test's log-ins do not throttle another's."""
    made = APIClient(REMOTE_ADDR=".".join(str(1 + secrets.randbelow(250)) for _ in range(4)))
    made.force_authenticate(user)
    return made
