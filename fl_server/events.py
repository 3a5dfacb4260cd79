"""What happened, told to whoever listens. The only module that knows channel groups.

Browsers listen to `jobs` (every job's head line), `job-<id>` (one job in full) and `devices`, a device's
socket to `device-<uuid>`, a run's ServerApp to `run-<id>`. Events about stored facts leave on commit.
"""

from typing import Any

from django.db import transaction

from fl_server import bus

JOBS = "jobs"
DEVICES = "devices"


def job_group(job_id: int) -> str:
    return f"job-{job_id}"


def device_group(device_id: Any) -> str:
    return f"device-{device_id}"


def owner_group(user_id: int) -> str:
    """Devices of one owner, for people who may see only their own."""
    return f"owner-{user_id}"


def user_group(user_id: int) -> str:
    """Every open page of one person."""
    return f"user-{user_id}"


def run_group(run_id: int) -> str:
    return f"run-{run_id}"


def _publish(kind: str, groups: list[str], payload: dict[str, Any]) -> None:
    message = {"type": kind, "payload": payload}

    def send() -> None:
        for group in groups:
            bus.get().send(group, message)

    transaction.on_commit(send)


def job_changed(job_id: int, **facts: Any) -> None:
    """Status, reason or waiting of a job changed."""
    _publish("live.event", [JOBS, job_group(job_id)], {"event": "job", "job": job_id, **facts})


def round_committed(job_id: int, **facts: Any) -> None:
    """number, seconds, examples, metrics, evaluation, accepted, rejected."""
    _publish("live.event", [JOBS, job_group(job_id)], {"event": "round", "job": job_id, **facts})


def round_evaluated(job_id: int, number: int, evaluation: dict[str, float]) -> None:
    payload = {"event": "evaluation", "job": job_id, "number": number, "evaluation": evaluation}
    _publish("live.event", [JOBS, job_group(job_id)], payload)


def participation_changed(job_id: int, **facts: Any) -> None:
    """device, device_name, round, status, batch, batches, reason."""
    _publish("live.event", [job_group(job_id)], {"event": "participation", "job": job_id, **facts})


def device_changed(device_id: Any, owner_id: int, **facts: Any) -> None:
    payload = {"event": "device", "device": str(device_id), **facts}
    _publish("live.event", [DEVICES, owner_group(owner_id)], payload)


def roles_changed(user_id: int) -> None:
    """The person's open pages are to look again at what they may see."""
    transaction.on_commit(lambda: bus.get().send(user_group(user_id), {"type": "live.recheck"}))


def tell_device(device_id: Any, **message: Any) -> None:
    """`type` is one of reserve, wake, release, abandon, approved, revoked."""
    _publish("device.message", [device_group(device_id)], message)


def tell_run(run_id: int, **message: Any) -> None:
    """To the run's ServerApp: `type` is one of ready, uploaded, failed, gone, cancel."""
    _publish("run.message", [run_group(run_id)], message)
