"""A company of devices whose sockets and whose Celery are played by the test's own process.

So a device may do what our client never would.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import connections
from django.utils import timezone
from flwr.app import Message, RecordDict

from fl_client import weights
from fl_client.fleet import FleetError, FleetLink
from fl_client.frames import Frame
from fl_client.session import Session
from fl_server import bus, evaluation, events, roles, spec
from fl_server.flower import fleet, launch
from fl_server.models import Device, Participation, TrainingJob
from fl_server.selectors import runs as selectors
from fl_server.services import checkpoints, estimates, jobs, participations, runs, scheduling, supervision
from tests.server.world import person

JOB_SECONDS = 120.0
QUICK_STEP = 0.001
Arrays = dict[str, np.ndarray]
SPEC = {
    "model": {"name": "lenet"},
    "dataset": {"name": "fashion-mnist", "options": {"source": "sample"}},
    "training": {"batch_size": 32, "learning_rate": 0.05},
    "evaluation": "off",
    "metric": {"name": "accuracy", "direction": "maximize"},
}


class QuickWorker:
    """Prepares and trains at once: every weight gets one step more."""

    def __init__(self, on_frame: Any, variables: Any) -> None:
        self._on_frame = on_frame
        on_frame(self, Frame({"type": "hello", "pid": 0, "device": "cpu"}))

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        if header["type"] == "prepare":
            run = header["assignment"]["run"]
            self._on_frame(self, Frame({"type": "prepared", "run": run, "rows": None, "seconds": 0.0}))
        elif header["type"] == "train":
            arrays = {name: array + np.float32(QUICK_STEP) for name, array in weights.unpack(payload).items()}
            at = {key: header[key] for key in ("run", "round", "fence")}
            result = {"type": "result", **at, "examples": 10, "metrics": {"train-loss": 0.5}}
            self._on_frame(self, Frame(result, weights.pack(arrays)))

    def end(self) -> None:
        pass


Tamper = Callable[[RecordDict], None]


class CrookedLink:
    """The real link, but what it hands in has been tampered with."""

    def __init__(self, inner: FleetLink, tamper: Tamper) -> None:
        self.inner = inner
        self._tamper = tamper

    def __enter__(self) -> "CrookedLink":
        self.inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.inner.__exit__(*error)

    def pull(self) -> Message | None:
        return self.inner.pull()

    def reply(self, to: Message, content: RecordDict, seconds: float) -> None:
        self._tamper(content)
        self.inner.reply(to, content, seconds)

    def confirm(self, message: Message) -> None:
        self.inner.confirm(message)


class CutOffLink(CrookedLink):
    """The message gets through, its objects do not; and its owner claims that they did."""

    def reply(self, to: Message, content: RecordDict, seconds: float) -> None:
        # The engine keeps one copy of equal contents: an honest device's would do for this one's too.
        content["fit"]["metrics"] = '{"seconds": 0.123}'
        self.inner._client.PushObject = self._lose  # type: ignore[method-assign]
        with pytest.raises(FleetError):
            self.inner.reply(to, content, seconds)

    def _lose(self, request: Any) -> Any:
        raise ValueError("cut off")


@dataclass
class Desk:
    """A device with its session; this process is its socket."""

    device: Device
    key: ec.EllipticCurvePrivateKey
    session: Session


class Company:
    def __init__(self, web: str) -> None:
        self.web = web
        self.owner = person(f"rosa-{time.monotonic_ns()}", roles.RESEARCHER)
        self.desks: dict[str, Desk] = {}

    def hire(
        self,
        name: str,
        wrap: Callable[[FleetLink], AbstractContextManager[Any]] = lambda link: link,
    ) -> Desk:
        key = ec.generate_private_key(ec.SECP256R1())
        device = Device.objects.create(
            owner=self.owner,
            name=name,
            status=Device.Status.APPROVED,
            identity_key=f"{name}-{time.monotonic_ns()}",
            node_key=public_pem(key),
            last_seen=timezone.now(),
            hardware={"cores": 2, "ram_bytes": 8e9},
        )
        fleet.settle()
        device.refresh_from_db()
        node = int(device.node_id)
        session = Session(
            lambda: wrap(FleetLink(self.web, key, node, ca=None)),
            lambda said: self._hear(desk, said),
            Path(settings.CONSTELLATION_HOME) / "desks" / name,
            QuickWorker,
        )
        desk = self.desks[name] = Desk(device, key, session)
        bus.get().subscribe(events.device_group(device.pk), lambda event: self._tell(desk, event["payload"]))
        return desk

    def _hear(self, desk: Desk, said: dict[str, Any]) -> None:
        try:
            if said["type"] == "ready":
                participations.ready(desk.device, said["run"], said["fence"], said["round"], said["rows"])
            elif said["type"] == "uploaded":
                participations.uploaded(desk.device, said["run"], said["round"])
            elif said["type"] == "failed":
                at = (said["run"], said["round"], said["code"], said["message"])
                participations.failed(desk.device, *at)
        finally:
            connections.close_all()

    def _tell(self, desk: Desk, told: dict[str, Any]) -> None:
        if told["type"] == "reserve":
            desk.session.start(told["assignment"])
        elif told["type"] in ("wake", "abandon"):
            getattr(desk.session, told["type"])(told["run"], told["round"])
        elif told["type"] == "release":
            desk.session.release(told["run"])

    def submit(self, **changes: Any) -> TrainingJob:
        count = {"min_devices": len(self.desks), "max_devices": len(self.desks)}
        participation = count | changes.pop("participation", {})
        document = SPEC | {"participation": participation} | changes
        # What Celery does first; until it is known, a job waits.
        evaluation.estimate(estimates.needs_of(spec.parse(document)))
        return jobs.create(self.owner, "clothes", document, submit=True)

    def work(self, job: TrainingJob) -> None:
        """What Celery does, until the job has ended."""
        deadline = time.monotonic() + JOB_SECONDS
        while job.status not in TrainingJob.TERMINAL:
            assert time.monotonic() < deadline, (job.status, job.reason, job.waiting)
            here = [desk.device.pk for desk in self.desks.values()]
            Device.objects.filter(pk__in=here).update(last_seen=timezone.now())
            supervision.check_runs()
            for run in scheduling.claim_next():
                evaluation.prepare(run)
                if runs.launched(run):
                    launch.start(run)
                for reservation in selectors.active_reservations(run):
                    runs.announce(reservation)
            time.sleep(0.1)
            job.refresh_from_db()

    def parts(self, job: TrainingJob, round_number: int = 1) -> dict[str, Participation]:
        found = Participation.objects.filter(run__job=job, round_number=round_number).select_related("device")
        return {part.device.name: part for part in found}

    def model(self, job: TrainingJob, round_number: int) -> Arrays:
        stored = job.checkpoints.get(round_number=round_number)
        return weights.unpack(checkpoints.file_path(stored).read_bytes())

    def close(self) -> None:
        for desk in self.desks.values():
            desk.session.close()
        fleet.settle()


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
