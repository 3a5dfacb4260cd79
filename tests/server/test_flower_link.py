import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from fl_server import events
from fl_server.flower import lease
from fl_server.flower.link import SocketLink
from fl_server.models import Device, Participation, Reservation, Run
from fl_server.selectors import runs as selectors
from fl_server.services import participations, runs
from strategies.link import Signal
from tests.server.world import device

Status = Participation.Status


class Bus:
    """Keeps the subscription, so that a test can be the sender."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.deliver: Any = None

    def subscribe(self, group: str, deliver: Any) -> None:
        self.group, self.deliver = group, deliver

    def send(self, group: str, message: dict[str, Any]) -> None:
        self.sent.append((group, message["payload"]))


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    made = Bus()
    monkeypatch.setattr("fl_server.bus.get", lambda: made)
    return made


@pytest.fixture(autouse=True)
def _one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is one transaction, which a fresh connection would lose."""
    monkeypatch.setattr(lease, "close_old_connections", lambda: None)


@pytest.fixture
def run(world: Any) -> Run:
    """One device is reserved and connected; its node has an unsigned 64-bit id."""
    Device.objects.filter(pk=world.training.pk).update(node_id=str(2**63 + 1), last_seen=timezone.now())
    return Run.objects.get(job=world.running)


NODE = 2**63 + 1


@pytest.fixture
def link(bus: Bus, run: Run) -> SocketLink:
    return SocketLink(run, threading.Event())


def told(link: SocketLink) -> list[Signal]:
    found = []
    while not link.signals.empty():
        found.append(link.signals.get())
    return found


def test_what_devices_say_becomes_signals(bus, link):
    for payload in (
        {"type": "ready", "node": str(NODE), "working_on": 3},
        {"type": "uploaded", "node": str(NODE), "round": 3},
        {"type": "failed", "node": str(NODE), "round": 3, "code": "diverged", "message": "NaN"},
        {"type": "gone", "node": str(NODE), "final": True},
        {"type": "gone", "node": str(NODE), "final": False},
    ):
        bus.deliver({"payload": payload})
    assert told(link) == [
        Signal("ready", NODE, 3),
        Signal("uploaded", NODE, 3),
        Signal("failed", NODE, 3, "diverged: NaN"),
        Signal("gone", NODE, final=True),
        Signal("gone", NODE),
    ]


@pytest.mark.parametrize("payload", [{"type": "ready", "node": ""}, {"type": "unheard-of", "node": "7"}])
def test_what_names_no_node_or_is_unknown_is_passed_over(bus, link, payload):
    bus.deliver({"payload": payload})
    assert told(link) == []


def test_cancel_sets_stop_and_wakes_whoever_waits(bus, link):
    bus.deliver({"payload": {"type": "cancel"}})
    assert link.stop.is_set()
    assert len(told(link)) == 1


def test_it_listens_to_its_own_run(bus, link, run):
    assert bus.group == events.run_group(run.pk)
    bus.deliver({"payload": {"type": "prepared"}})
    assert link.prepared.is_set()


def test_ready_are_those_that_said_so_and_are_connected(link, run):
    assert (link.reserved(), link.ready()) == ({NODE}, set())
    Reservation.objects.filter(run=run).update(ready_at=timezone.now())
    assert link.ready() == {NODE}
    Device.objects.filter(node_id=str(NODE)).update(disconnected_at=timezone.now() + timedelta(seconds=1))
    assert (link.reserved(), link.ready()) == ({NODE}, set())


def test_a_device_that_was_released_or_cannot_work_is_not_reserved_any_more(bus, link, run, world):
    Reservation.objects.create(run=run, device=device(world.owner, "second", node_id="8"), partition=1)
    assert link.reserved() == {NODE, 8}
    participations.failed(Device.objects.get(node_id="8"), run.pk, None, "data-missing", "No file.")
    assert link.reserved() == {NODE}
    runs.release_device(world.training)
    assert link.reserved() == set()


def test_a_device_whose_dataset_differs_takes_no_part_and_the_run_can_say_why(link, run):
    node = Device.objects.get(node_id=str(NODE))
    Reservation.objects.filter(run=run).update(rows=600)
    participations.ready(node, run.pk, run.fence, rows=600)
    assert (link.ready(), selectors.problems(run)) == ({NODE}, [])
    participations.ready(node, run.pk, run.fence, rows=80)
    assert link.ready() == set()
    assert selectors.problems(run) == [
        f"{node.name}: its copy of the dataset gives 80 rows where 600 were dealt."
    ]


def test_a_database_that_is_away_for_a_moment_does_not_end_the_run(link, monkeypatch):
    monkeypatch.setattr(lease, "RETRY_EVERY", 0.01)
    answers = iter([OperationalError("away"), OperationalError("away")])
    settle = participations.settle

    def flaky(*args: Any, **facts: Any) -> None:
        for error in answers:
            raise error
        settle(*args, **facts)

    monkeypatch.setattr(participations, "settle", flaky)
    link.lost(NODE, 2, "It was away for over 15 s.")
    found = Participation.objects.get(round_number=2, device__node_id=str(NODE))
    assert (found.status, found.reason_code) == (Status.LOST, "lost")


def test_a_lost_device_that_answers_in_the_end_was_late(link):
    link.lost(NODE, 2, "It did not answer within 600 s.")
    link.late(NODE, 2)
    found = Participation.objects.get(round_number=2, device__node_id=str(NODE))
    assert (found.status, found.reason_code) == (Status.LATE, "late")


def test_what_was_accepted_stays_accepted(link):
    link.late(NODE, 1)
    assert Participation.objects.get(round_number=1, device__node_id=str(NODE)).status == Status.ACCEPTED


def test_sending_again_is_counted(link):
    link.resent(NODE, 2, 2)
    found = Participation.objects.get(round_number=2, device__node_id=str(NODE))
    assert (found.attempts, found.status) == (2, Status.SELECTED)


def test_wake_and_abandon_go_to_the_devices_socket(bus, link, run, world, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        link.wake(NODE, 2)
        link.abandon(NODE, 2)
    group = events.device_group(world.training.pk)
    assert bus.sent == [
        (group, {"type": "wake", "run": run.pk, "round": 2}),
        (group, {"type": "abandon", "run": run.pk, "round": 2}),
    ]
