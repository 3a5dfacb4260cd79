"""What happened, told to whoever listens. The only module that knows channel groups.

Browsers listen to `jobs` (every job's head line), `job-<id>` (one job in full) and `devices`, a device's
socket to `device-<uuid>`, a run's ServerApp to `run-<id>`. Events about stored facts leave on commit.
"""

import logging
from collections import defaultdict
from typing import Any

from django.core.cache import cache
from django.db import transaction

from fl_server import bus

logger = logging.getLogger(__name__)

JOBS = "jobs"
DEVICES = "devices"
# A live socket says every minute that it listens, so one that went away is forgotten soon.
LISTENING_SECONDS = 150
PAYLOADS_AT_ONCE = 100


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


def _publish(kind: str, groups: list[str], payload: Any) -> None:
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


def log_arrived(device_id: Any, owner_id: int) -> None:
    """A device sent its client's log. Who may read it asks for it."""
    payload = {"event": "log", "device": str(device_id)}
    _publish("live.event", [DEVICES, owner_group(owner_id)], payload)


def devices_spoke(signs: list[tuple[Any, int, dict[str, Any]]]) -> None:
    """Samples that change no decision: many in one message, and only to groups that somebody hears."""
    of_group: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for device_id, owner_id, facts in signs:
        payload = {"event": "device", "device": str(device_id), **facts}
        of_group[DEVICES].append(payload)
        of_group[owner_group(owner_id)].append(payload)
    for group in _listened(list(of_group)):
        payloads = of_group[group]
        for start in range(0, len(payloads), PAYLOADS_AT_ONCE):
            _publish("live.events", [group], payloads[start : start + PAYLOADS_AT_ONCE])


def listening(group: str) -> None:
    """A page listens to the group."""
    cache.set(_listening_key(group), 1, LISTENING_SECONDS)


def _listened(groups: list[str]) -> list[str]:
    try:
        heard = cache.get_many([_listening_key(group) for group in groups])
    except Exception as exc:
        # The cache is where the events would go, too. What the caller writes must not depend on it.
        logger.warning("not known who listens: %s", exc)
        return []
    return [group for group in groups if _listening_key(group) in heard]


def _listening_key(group: str) -> str:
    return f"listening:{group}"


def notified(user_id: int, unread: int) -> None:
    """So many notifications the person has not read."""
    _publish("live.event", [user_group(user_id)], {"event": "notification", "unread": unread})


def roles_changed(user_id: int) -> None:
    """The person's open pages are to look again at what they may see."""
    transaction.on_commit(lambda: bus.get().send(user_group(user_id), {"type": "live.recheck"}))


def tell_device(device_id: Any, **message: Any) -> None:
    """`type` is one of reserve, wake, finish, release, abandon, approved, revoked, policy, logs."""
    _publish("device.message", [device_group(device_id)], message)


def tell_run(run_id: int, **message: Any) -> None:
    """To the run's ServerApp: `type` is one of ready, parked, uploaded, failed, gone, cancel."""
    _publish("run.message", [run_group(run_id)], message)
