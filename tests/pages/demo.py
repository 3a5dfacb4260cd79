"""A fleet and jobs in every state, for the pages to show, and the steps with which a round moves on."""

import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone

from fl_server import bus, events, roles, spec
from fl_server.device_messages import Decision, Telemetry
from fl_server.models import Checkpoint, Device, Participation, Reservation, Round, Run, TrainingJob
from fl_server.services import checkpoints, devices, participations, policies, rounds

GB = 10**9
PASSWORD = "stars-and-lines"
MACHINES = {
    "lab-ws-01": (16, 64 * GB, "NVIDIA RTX 4080", "Linux 6.8"),
    "lab-ws-02": (16, 64 * GB, "NVIDIA RTX 4080", "Linux 6.8"),
    "mira-laptop": (8, 16 * GB, "", "macOS 15.1"),
    "reception": (4, 8 * GB, "", "Windows 11"),
    "jonas-desk": (12, 32 * GB, "NVIDIA RTX 3060", "Windows 11"),
    "meeting-room": (6, 16 * GB, "", "Linux 6.1"),
    "cad-station": (24, 128 * GB, "NVIDIA RTX A5000", "Windows 11"),
}


def person(name: str, role: str, first: str, last: str, password: str | None = None) -> Any:
    user = get_user_model().objects.create_user(name, password=password, first_name=first, last_name=last)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    return user


def machine(name: str, owner: Any, **fields: Any) -> Device:
    cores, ram, gpu, platform = MACHINES[name]
    now = timezone.now()
    return Device.objects.create(
        name=name,
        owner=owner,
        status=fields.pop("status", Device.Status.APPROVED),
        identity_key=secrets.token_hex(8),
        node_key=secrets.token_hex(8),
        node_id=str(secrets.randbits(63)),
        hardware={
            "cores": cores,
            "ram_bytes": ram,
            "gpus": [{"name": gpu, "total_bytes": 16 * GB, "free_bytes": 15 * GB}] if gpu else [],
        },
        platform=platform,
        client_version="0.1.0",
        telemetry={"cpu": 7 + len(name) * 3 % 40, "ram_free_bytes": ram * 0.6},
        **{"last_seen": now, **fields},
    )


def training_job(owner: Any, name: str, status: str, strategy: str = "fedavg", **fields: Any) -> TrainingJob:
    document = {
        "model": {"name": "lenet"},
        "dataset": {"name": "fashion-mnist"},
        "partition": {"scheme": "dirichlet"},
        "strategy": {"name": strategy},
        "rounds": 20,
        "metric": {"name": "accuracy", "direction": "maximize"},
    }
    full = spec.parse(document).model_dump(mode="json")
    now = timezone.now()
    return TrainingJob.objects.create(
        owner=owner, name=name, spec=full, status=status, submitted_at=now - timedelta(minutes=9), **fields
    )


def accuracy(number: int) -> float:
    return 0.88 - 0.5 * 0.78**number


def loss(number: int) -> float:
    return 0.42 + 1.6 * 0.75**number


def commit(run: Run, number: int) -> Round:
    """A finished round as a ServerApp writes it, with the server's evaluation."""
    now = timezone.now()
    metrics = {"train-loss": loss(number) * 0.92, "train-accuracy": accuracy(number) + 0.03}
    report = rounds.RoundReport(
        number, now - timedelta(seconds=3.4), now, 4200, 5, 0, 1_100_000, 1_100_000, metrics
    )
    file = rounds.CheckpointFile(f"demo/{number}.safetensors", secrets.token_hex(32), 178_472)
    row = rounds.commit(run, report, file, evaluate=False)
    checkpoint = Checkpoint.objects.get(job_id=run.job_id, round_number=number)
    checkpoints.evaluated(checkpoint, {"accuracy": accuracy(number), "loss": loss(number)})
    return row


def start(job: TrainingJob, devices: list[Device], done: int) -> Run:
    until = timezone.now() + timedelta(hours=1)
    run = Run.objects.create(
        job=job, number=1, fence=1, partitions=len(devices), status=Run.Status.RUNNING, lease_until=until
    )
    for index, device in enumerate(devices):
        Reservation.objects.create(run=run, device=device, partition=index, rows=840, ready_at=timezone.now())
    for number in range(1, done + 1):
        commit(run, number)
    return run


class Demo:
    def __init__(self) -> None:
        self.admin = person("ada", roles.ADMIN, "Ada", "Lindqvist")
        self.researcher = person("rosa", roles.RESEARCHER, "Rosa", "Okafor", PASSWORD)
        self.owner = person("otto", roles.OWNER, "Otto", "Brandt")
        mira, jonas = (
            person("mira", roles.OWNER, "Mira", "Sato"),
            person("jonas", roles.OWNER, "Jonas", "Weber"),
        )
        self.devices = [
            machine("lab-ws-01", self.owner),
            machine("lab-ws-02", self.owner),
            machine("cad-station", jonas),
            machine("mira-laptop", mira),
            machine("meeting-room", mira),
        ]
        machine("reception", mira, may_train=False, decision_codes=["paused"], decision_reason="you did")
        machine("jonas-desk", jonas, status=Device.Status.PENDING, last_seen=None)
        self._past_jobs()
        now = timezone.now()
        self.job = training_job(
            self.researcher, "Night shift: clothes, uneven data", "running", "fedadam", started_at=now
        )
        self.run = start(self.job, self.devices, done=8)
        self.open_round(9)

    def _past_jobs(self) -> None:
        now = timezone.now()
        done = training_job(self.researcher, "Baseline, FedAvg", "running", started_at=now, finished_at=now)
        start(done, [], done=20)
        done.runs.update(status="completed")
        ended = {"status": "completed", "reason_code": "completed", "reason": "All 20 rounds are done."}
        TrainingJob.objects.filter(pk=done.pk).update(**ended)
        failed = "Round 3: only 1 of 4 devices answered in time."
        training_job(
            self.researcher, "Four shards each", "failed", reason_code="too-few-replies", reason=failed
        )
        waiting = {
            "sentence": "Waits for devices: 6 needed, 1 fit now.",
            "needed": 6,
            "fit": 1,
            "unfit": {"lab-ws-01": "works on another run", "reception": "is paused by its owner"},
            "unfit_more": 2,
        }
        training_job(self.researcher, "Momentum on the server", "queued", "fedavgm", waiting=waiting)

    def open_round(self, number: int) -> None:
        participations.open_round(self.run, number, self.devices)

    def progress(self, number: int, device: Device, phase: str, batch: int | None = None) -> None:
        participations.progress(device, self.run.pk, number, phase, batch, 27 if batch else None)

    def settle(
        self, number: int, device: Device, to: str = Participation.Status.ACCEPTED, **fields: Any
    ) -> None:
        participations.settle(self.run, number, device, to, **fields)

    def middle_of_round(self, number: int) -> None:
        one, two, three, four, _ = self.devices
        self.settle(number, one, examples=840, seconds=2.1)
        self.progress(number, two, "training", 19)
        self.progress(number, three, "uploading")
        self.settle(
            number,
            four,
            Participation.Status.REJECTED,
            reason_code="non-finite",
            reason="Tensor conv2.weight holds 3 values that are not finite.",
        )

    def sample(
        self, device: Device, cpu: float = 20.0, *, allowed: bool = True, reason: str = "", code: str = ""
    ) -> None:
        """A sign of life, as the device's socket hands it on."""
        decision = Decision(allowed=allowed, reason=reason, codes=(code,) if code else ())
        message = Telemetry(type="telemetry", cpu=cpu, ram_free_bytes=9 * GB, decision=decision)
        devices.sign_of_life(device, message)

    def rules(self, device: Device) -> None:
        """Three layers for one device, of which the owner's is partly in vain."""
        Device.objects.filter(pk=device.pk).update(labels={"room": "lab", "floor": "2"})
        night = {"hours": {day: ["18:00-08:00"] for day in ("mon", "tue", "wed", "thu", "fri")}}
        policies.set_group(self.admin, "room", "lab", {**night, "exclusive_programs": ["matlab"]})
        policies.set_group(self.admin, "floor", "2", {"networks_denied": ["Guests"]})
        policies.owner_changed(device, {"idle_minutes": 30, "on_battery": True, "gpu": "always"})

    def leave(self, device: Device) -> None:
        devices.disconnected(device, device.socket)

    def recheck(self, user: Any) -> None:
        bus.get().send(events.user_group(user.pk), {"type": "live.recheck"})
