import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError
from django.utils import timezone

from fl_server.flower import lease
from fl_server.flower.lease import Lease, persist
from fl_server.models import Run
from fl_server.services import runs

DEADLINE = 5.0  # seconds


class Flaky:
    """Fails so often, then returns its count."""

    def __init__(self, failures: int, error: type[Exception] = OperationalError) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error("database is locked")
        return self.calls


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RETRY_EVERY", 0.01)
    monkeypatch.setattr(lease, "EXTEND_EVERY", 0.01)


@pytest.mark.django_db
class TestPersist:
    def test_a_write_that_goes_through_is_done_once(self):
        write = Flaky(0)
        assert persist(write) == 1
        assert write.calls == 1

    def test_a_database_that_is_away_for_a_while_costs_time_and_nothing_else(self):
        assert persist(Flaky(3)) == 4

    def test_it_gives_up_after_its_deadline(self, monkeypatch):
        monkeypatch.setattr(lease, "WRITE_DEADLINE", 0.05)
        write = Flaky(10**6)
        with pytest.raises(OperationalError):
            persist(write)
        assert write.calls > 1

    @pytest.mark.parametrize("error", [IntegrityError, runs.Superseded])
    def test_what_will_not_go_through_later_either_is_not_tried_again(self, error):
        write = Flaky(10**6, error)
        with pytest.raises(error):
            persist(write)
        assert write.calls == 1


class Extensions:
    """Stands for `runs.extend_lease`: raises what it is given, in turn, then nothing any more."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.enough = threading.Event()
        self.calls: list[tuple[int, int]] = []

    def __call__(self, run_id: int, fence: int) -> None:
        self.calls.append((run_id, fence))
        if self.errors:
            raise self.errors.pop(0)
        self.enough.set()


@pytest.fixture
def extended(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(*errors: Exception) -> Extensions:
        made = Extensions(*errors)
        monkeypatch.setattr(runs, "extend_lease", made)
        return made

    return install


def test_the_lease_is_extended_with_its_fence_while_it_is_held(extended):
    extensions, stop = extended(), threading.Event()
    with Lease(Run(pk=12, fence=7), stop):
        assert extensions.enough.wait(DEADLINE)
    count = len(extensions.calls)
    assert set(extensions.calls) == {(12, 7)}
    assert not stop.wait(0.05)
    assert len(extensions.calls) == count


def test_a_database_that_is_away_does_not_end_the_lease(extended):
    extensions, stop = extended(OperationalError("away"), OperationalError("away")), threading.Event()
    with Lease(Run(pk=12, fence=7), stop):
        assert extensions.enough.wait(DEADLINE)
    assert not stop.is_set()


def test_a_run_that_was_superseded_is_told_to_stop(extended):
    extensions, stop = extended(runs.Superseded("newer")), threading.Event()
    with Lease(Run(pk=12, fence=7), stop):
        assert stop.wait(DEADLINE)
    assert len(extensions.calls) == 1


@pytest.mark.django_db
class TestExtending:
    @pytest.fixture
    def run(self, world: Any) -> Run:
        return Run.objects.get(job=world.running)

    def test_a_running_run_gets_time(self, run):
        before = timezone.now()
        runs.extend_lease(run.pk, run.fence)
        run.refresh_from_db()
        assert run.lease_until > before + timedelta(seconds=3)

    def test_another_fence_is_refused(self, run):
        with pytest.raises(runs.Superseded):
            runs.extend_lease(run.pk, run.fence + 1)

    def test_a_run_that_ended_is_refused(self, run):
        runs.fail(run, "error", "It broke.")
        with pytest.raises(runs.Superseded):
            runs.extend_lease(run.pk, run.fence)
