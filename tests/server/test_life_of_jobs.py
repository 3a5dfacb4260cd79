"""Any order of what people do, what breaks and what time brings: what must always hold, holds.

Hypothesis draws the orders. A ServerApp is played by calls of the services that it calls.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fl_server import roles
from fl_server.exceptions import Conflict
from fl_server.models import (
    Checkpoint,
    Contribution,
    Device,
    JobEvent,
    Participation,
    Reservation,
    Round,
    Run,
    TrainingJob,
)
from fl_server.services import (
    checkpoints,
    copies,
    devices,
    jobs,
    participations,
    pausing,
    rounds,
    runs,
    scheduling,
    substitution,
    supervision,
)
from tests.server import cluster
from tests.server.world import SPEC, person

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]

DEVICES, JOBS = 5, 4
Status = TrainingJob.Status
RETRIED = ("serverapp-lost", "too-few-replies", "engine-lost")
CURED_BY_NOTHING = ("diverged", "error")


class LifeOfJobs(RuleBasedStateMachine):
    job_keys = Bundle("job_keys")
    device_keys = Bundle("device_keys")

    def __init__(self) -> None:
        super().__init__()
        self._undo = transaction.atomic()
        self._undo.__enter__()
        self.admin = person("alma", roles.ADMIN)
        # As each ServerApp holds it: what has changed in the database since, it does not know.
        self.leading: dict[int, Run] = {}

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._undo.__exit__(None, None, None)

    @initialize(target=device_keys)
    def machines(self) -> Any:
        return multiple(*(cluster.idle(f"desk-{number}").pk for number in range(DEVICES)))

    # What people do

    @precondition(lambda self: TrainingJob.objects.count() < JOBS)
    @rule(
        target=job_keys,
        rounds=st.integers(1, 3),
        needed=st.integers(1, 3),
        attempts=st.integers(1, 2),
        goal=st.none() | st.just(0.9),
        smaller=st.booleans(),
    )
    def submit(self, rounds: int, needed: int, attempts: int, goal: float | None, smaller: bool) -> int:
        wanted = SPEC | {
            "rounds": rounds,
            "requirements": {"memory_gb": 0.1},
            "participation": {"min_devices": needed, "max_devices": needed + 1},
            "stopping": {"attempts": attempts, "target": goal},
            "waiting": {"give_up_hours": 1 if smaller else None, "then": "start-smaller"},
        }
        return jobs.create(cluster.researcher(), "Clothes", wanted, submit=True).pk

    @rule(key=job_keys, what=st.sampled_from(("pause", "pause now", "resume", "resume", "cancel")))
    def decide(self, key: int, what: str) -> None:
        act = {
            "pause": lambda: pausing.pause(job(key), self.admin),
            "pause now": lambda: pausing.pause(job(key), self.admin, now=True),
            "resume": lambda: pausing.resume(job(key), self.admin),
            "cancel": lambda: jobs.cancel(job(key), self.admin),
        }
        possible(act[what])

    @precondition(lambda self: TrainingJob.objects.count() < JOBS)
    @rule(target=job_keys, key=job_keys)
    def rerun(self, key: int) -> int:
        return copies.rerun(job(key), self.admin).pk

    # What machines and their owners do

    @rule(key=device_keys, how=st.sampled_from(("hangs up", "is back", "is used by its owner", "is silent")))
    def a_machine(self, key: Any, how: str) -> None:
        device = Device.objects.get(pk=key)
        if how == "hangs up":
            devices.disconnected(device, device.socket)
        elif how == "is silent":
            Device.objects.filter(pk=key).update(last_seen=timezone.now() - timedelta(minutes=10))
        else:
            self._speaks(key, how == "is back")

    def _speaks(self, key: Any, allowed: bool) -> None:
        facts = {
            "last_seen": timezone.now(),
            "disconnected_at": None,
            "may_train": allowed,
            "may_start": allowed,
        }
        Device.objects.filter(pk=key).update(**facts)

    @precondition(lambda self: Device.objects.filter(status=Device.Status.REVOKED).count() < 2)
    @rule(key=device_keys)
    def is_revoked(self, key: Any) -> None:
        possible(lambda: devices.revoke(Device.objects.get(pk=key), self.admin, "sold"))

    # What the platform does by itself

    @rule(steps=st.sampled_from((1, 2, 3, 3, 3)))
    def the_platform_works(self, steps: int) -> None:
        """The tick, perhaps the launch of what it started, perhaps its ServerApp's first sign of life."""
        for step in (self._tick, self._launch, self._begin)[:steps]:
            step()

    def _tick(self) -> None:
        supervision.check_runs()
        substitution.replace_lost()
        scheduling.claim_next()
        for one in TrainingJob.objects.exclude(status=Status.RUNNING):
            assert not one.runs.filter(status__in=Run.ACTIVE).exists(), f"{one} is {one.status} and has a run"
            assert not held().filter(run__job=one).exists(), f"{one} is {one.status} and holds devices"

    def _launch(self) -> None:
        for run in Run.objects.filter(status=Run.Status.PREPARING):
            runs.prepared(run, [10] * run.partitions)
            assert runs.launched(run)
            runs.attach_engine(run, run.pk)

    def _begin(self) -> None:
        for run in Run.objects.filter(status=Run.Status.LAUNCHED).select_related("job"):
            self.leading[run.pk] = runs.start(run)

    @rule(minutes=st.sampled_from((1, 90)))
    def time_passes(self, minutes: int) -> None:
        back = timedelta(minutes=minutes)
        TrainingJob.objects.update(not_before=F("not_before") - back, submitted_at=F("submitted_at") - back)
        Run.objects.update(lease_until=F("lease_until") - back, created_at=F("created_at") - back)

    # What ServerApps do, also those that were given up

    @rule(data=st.data(), count=st.integers(1, 3), accuracy=st.sampled_from((0.5, 0.95)))
    @precondition(lambda self: self.leading)
    def rounds_are_done(self, data: st.DataObject, count: int, accuracy: float) -> None:
        run = self._one_of_the_leading(data)
        first = run.first_round + Round.objects.filter(run=run).count()
        for number in range(first, min(first + count, run.job.spec["rounds"] + 1)):
            try:
                self._train(run, number)
            except runs.Superseded:
                assert Run.objects.get(pk=run.pk).status != Run.Status.RUNNING
                return
            checkpoint = Checkpoint.objects.get(job=run.job, round_number=number)
            checkpoints.evaluated(checkpoint, {"accuracy": accuracy})

    def _train(self, run: Run, number: int) -> None:
        selected = [one.device for one in held().filter(run=run).select_related("device")]
        rounds.begin(run, number, selected)
        for device in selected:
            accepted = Participation.Status.ACCEPTED
            participations.settle(run, number, device, accepted, examples=10, seconds=1.0)
        row = rounds.commit(run, report(number, len(selected)), file(run, number), evaluate=True)
        assert row.run_id == Run.objects.filter(job=run.job).order_by("-number").first().pk

    @rule(data=st.data(), how=st.sampled_from(("done", "done", *RETRIED, *CURED_BY_NOTHING)))
    @precondition(lambda self: self.leading)
    def a_run_ends(self, data: st.DataObject, how: str) -> None:
        run = self._one_of_the_leading(data)
        if how != "done":
            runs.fail(run, how, "It was not to be.")
        elif run.job.rounds.count() == run.job.spec["rounds"]:
            runs.complete(run)

    def _one_of_the_leading(self, data: st.DataObject) -> Run:
        return self.leading[data.draw(st.sampled_from(sorted(self.leading, reverse=True)))]

    # What must hold after each of them

    @invariant()
    def no_device_is_held_without_a_run(self) -> None:
        assert not held().exclude(run__status__in=Run.ACTIVE).exists()
        assert not held().filter(device__status=Device.Status.REVOKED).exists()

    @invariant()
    def a_running_job_has_one_run_and_a_draft_none(self) -> None:
        for one in TrainingJob.objects.all():
            active = one.runs.filter(status__in=Run.ACTIVE).count()
            assert active == 1 if one.status == Status.RUNNING else active <= 1

    @invariant()
    def no_run_holds_more_devices_than_it_may(self) -> None:
        for run in Run.objects.filter(status__in=Run.ACTIVE).select_related("job"):
            parts = list(held().filter(run=run).values_list("partition", flat=True))
            assert len(parts) <= run.job.spec["participation"]["max_devices"]
            assert len(parts) == len(set(parts)), "two devices train on the same rows"

    @invariant()
    def every_round_is_there_once(self) -> None:
        for one in TrainingJob.objects.all():
            numbers = list(one.rounds.order_by("number").values_list("number", flat=True))
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) <= one.spec["rounds"]
            assert sorted(one.checkpoints.values_list("round_number", flat=True)) == numbers

    @invariant()
    def only_accepted_work_of_committed_rounds_is_in_the_ledger(self) -> None:
        accepted = Participation.objects.filter(status=Participation.Status.ACCEPTED)
        done = {(row.run_id, row.number) for row in Round.objects.all()}
        wanted = {part.pk for part in accepted if (part.run_id, part.round_number) in done}
        assert set(Contribution.objects.values_list("participation", flat=True)) == wanted

    @invariant()
    def every_move_is_allowed_and_in_the_history(self) -> None:
        for one in TrainingJob.objects.all():
            statuses = list(JobEvent.objects.filter(job=one).order_by("id").values_list("status", flat=True))
            assert (statuses or [Status.DRAFT])[-1] == one.status
            for before, after in zip([Status.DRAFT, *statuses], statuses, strict=False):
                assert before == after or after in TrainingJob.TRANSITIONS[before], (before, after)
            assert bool(one.finished_at) == (one.status in TrainingJob.TERMINAL)
            assert bool(one.reason) or one.status not in TrainingJob.TERMINAL


def job(key: int) -> TrainingJob:
    return TrainingJob.objects.get(pk=key)


def held() -> Any:
    return Reservation.objects.filter(released_at__isnull=True)


def possible(act: Callable[[], Any]) -> None:
    """What cannot be done now is a Conflict; nothing else may go wrong."""
    with suppress(Conflict), transaction.atomic():
        act()


def report(number: int, accepted: int) -> rounds.RoundReport:
    now = timezone.now()
    return rounds.RoundReport(number, now, now, examples=10 * accepted, accepted=accepted)


def file(run: Run, number: int) -> rounds.CheckpointFile:
    return rounds.CheckpointFile(f"{run.pk}-{number}.safetensors", "0" * 64, 1)


def test_whatever_happens_in_whatever_order(settings_of_hypothesis: Any) -> None:
    run_state_machine_as_test(LifeOfJobs, settings=settings_of_hypothesis)


@pytest.fixture
def settings_of_hypothesis() -> Any:
    return settings(
        max_examples=25,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
