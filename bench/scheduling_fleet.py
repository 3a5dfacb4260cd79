"""A made-up fleet with a history, in the database that the environment names, and the scheduler on it.

Started by bench.scheduling. The last line of its output is a list of measurements, one for each size.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from fl_server import spec, tasks  # noqa: E402
from fl_server.models import Contribution, Device, JobEvent, Round, Run, TrainingJob  # noqa: E402
from fl_server.placement import availability, choice, facts, matching  # noqa: E402
from fl_server.selectors import placement  # noqa: E402
from fl_server.services import jobs, runs, scheduling  # noqa: E402

REPEATS = 7
TAKEN = 100
OWNERS = 200
PAST_JOBS, ROUNDS = 200, 20
WORK_OF_EACH = 5  # accepted rounds of each device in the last week
SPEC = {
    "model": {"name": "lenet"},
    "dataset": {"name": "fashion-mnist"},
    "rounds": 50,
    "participation": {"min_devices": 1, "max_devices": TAKEN},
    "requirements": {"min_ram_gb": 4, "min_cores": 2, "memory_gb": 1},
    "metric": {"name": "accuracy", "direction": "maximize"},
}
WAITING = {**SPEC, "requirements": {"min_cores": 1000}}


def milliseconds(action: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median of some repeats, after one that does not count."""
    action()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def people() -> list[Any]:
    users = get_user_model().objects
    names = [f"owner-{number}" for number in range(OWNERS)]
    return [users.get_or_create(username=name)[0] for name in names]


def device(number: int, owner: Any, draw: random.Random) -> Device:
    """One in ten is away and one in five is used by its owner; the others are free."""
    now = timezone.now()
    away, used = draw.random() < 0.1, draw.random() < 0.2
    ram = draw.choice((8, 16, 32, 64)) * 10**9
    gpus = [{"name": "GPU", "total_bytes": 8 * 10**9, "free_bytes": draw.randrange(8 * 10**9)}]
    gpus = gpus if draw.random() < 0.3 else []
    sample = {
        "cpu": round(draw.uniform(0, 100), 1),
        "ram_free_bytes": draw.randrange(10**9, ram),
        "disk_free_bytes": draw.randrange(10**12),
        "received_bytes_a_second": draw.randrange(10**6),
        "sent_bytes_a_second": draw.randrange(10**6),
        "gpus": gpus,
        "at": now.isoformat(),
    }
    return Device(
        owner=owner,
        name=f"desk-{number:06}",
        status=Device.Status.APPROVED,
        identity_key=f"identity-{number}",
        node_key=f"node-{number}",
        node_id=str(number + 1),
        labels={"site": draw.choice(("berlin", "paris", "rome")), "floor": str(draw.randrange(9))},
        hardware={"cores": draw.choice((4, 8, 16)), "ram_bytes": ram, "gpus": gpus},
        platform=draw.choice(("Linux-6.8", "Windows-11", "macOS-14.5")),
        client_version="0.1.0",
        telemetry=sample,
        may_train=not used,
        may_start=not used,
        decision_codes=["in-use"] if used else [],
        relative_speed=draw.uniform(0.3, 3),
        network_bytes_a_second=draw.uniform(1e6, 1e8),
        free_hours=[round(draw.random(), 3) for _ in range(168)],
        reputation=draw.uniform(0.5, 1),
        last_seen=now - timedelta(days=3) if away else now + timedelta(days=1),
    )


def grow(size: int, owners: list[Any]) -> None:
    """Add devices, each with a week of accepted work."""
    draw = random.Random(size)
    have = Device.objects.count()
    made = [device(number, draw.choice(owners), draw) for number in range(have, size)]
    Device.objects.bulk_create(made, batch_size=500)
    now = timezone.now()
    Contribution.objects.bulk_create(
        (_work(one, now, draw) for one in made for _ in range(WORK_OF_EACH)), batch_size=500
    )


def _work(one: Device, now: datetime, draw: random.Random) -> Contribution:
    return Contribution(
        device=one,
        owner_id=one.owner_id,
        job_name="past",
        round_number=1,
        at=now - timedelta(hours=draw.uniform(0, 160)),
        examples=600,
        seconds=draw.uniform(1, 600),
    )


def past(owner: Any) -> None:
    """Jobs that ended, with their runs, rounds and history."""
    completed, now = TrainingJob.Status.COMPLETED, timezone.now()
    full = spec.parse(SPEC).model_dump(mode="json")
    for number in range(PAST_JOBS):
        job = TrainingJob.objects.create(
            owner=owner, name=f"past {number}", spec=full, status=completed, started_at=now, finished_at=now
        )
        run = Run.objects.create(
            job=job,
            number=1,
            fence=1,
            partitions=10,
            status="completed",
            prepared_at=now,
            engine_run_id=str(number),
            engine_stopped_at=now,
        )
        JobEvent.objects.bulk_create(JobEvent(job=job, status=completed, code="x") for _ in range(5))
        Round.objects.bulk_create(
            Round(
                job=job,
                run=run,
                number=n,
                started_at=now - timedelta(seconds=9),
                finished_at=now,
                evaluation={"loss": 1.0},
            )
            for n in range(1, ROUNDS + 1)
        )


def queued(owner: Any, wanted: dict[str, Any]) -> TrainingJob:
    job = TrainingJob.objects.create(
        owner=owner, name="bench", spec=spec.parse(wanted).model_dump(mode="json"), memory_bytes=10**9
    )
    jobs.move(job, TrainingJob.Status.QUEUED, "submitted", "Waits.", submitted_at=timezone.now())
    return job


def place(owner: Any) -> tuple[float, int]:
    """Milliseconds of a look at the queue that starts one job, and its queries."""
    job = queued(owner, SPEC)
    with CaptureQueriesContext(connection) as queries:
        started = time.perf_counter()
        (run,) = scheduling.claim_next()
        taken = (time.perf_counter() - started) * 1000
    assert run.reservations.count() == min(TAKEN, len(placement.working()))
    runs.cancel(run, "measured")
    TrainingJob.objects.filter(pk=job.pk).update(status=TrainingJob.Status.CANCELLED)
    Run.objects.filter(pk=run.pk).update(engine_stopped_at=timezone.now())
    return taken, len(queries)


def wait(owner: Any) -> float:
    """Milliseconds of a look at the queue that finds one job which cannot start."""
    job = queued(owner, WAITING)
    taken = milliseconds(scheduling.claim_next)
    TrainingJob.objects.filter(pk=job.pk).update(status=TrainingJob.Status.CANCELLED)
    return taken


def choose(fitting: list[Any], weighed: list[Any], demand: Any, now: datetime) -> None:
    choice.shortlist(fitting, TAKEN, 7)
    choice.choose(weighed, demand, TAKEN, 7, now)


def measured(size: int, owners: list[Any]) -> dict[str, float]:
    grow(size, owners)
    now = timezone.now()
    demand = facts.demand(spec.parse(SPEC))
    devices = placement.devices()
    free = [one for one in devices if not matching.busy(one)]
    fitting = matching.fitting(free, demand)
    hours = availability.hours(now, 120)
    short = choice.shortlist(fitting, TAKEN, 7)
    weighed = placement.weighed(short, None, placement.habits(short, hours))
    place(owners[0])
    placed = [place(owners[0]) for _ in range(REPEATS)]
    return {
        "devices": size,
        "facts": milliseconds(placement.devices),
        "match": milliseconds(lambda: [one for one in devices if not matching.unfit(one, demand)]),
        "weigh": milliseconds(lambda: placement.weighed(short, None, placement.habits(short, hours))),
        "choose": milliseconds(lambda: choose(fitting, weighed, demand, now)),
        "place": statistics.median(taken for taken, _ in placed),
        "fastest": min(taken for taken, _ in placed),
        "queries": placed[-1][1],
        "wait": wait(owners[0]),
        "tick": milliseconds(tasks.tick),
    }


if __name__ == "__main__":
    everybody = people()
    past(everybody[0])
    tasks.keep_what_is_loaded()  # as in a worker
    print(json.dumps([measured(int(size), everybody) for size in sys.argv[1:]]))
