import pytest
from django.utils import timezone

from fl_server.models import Device, Participation, Run
from fl_server.services import participations, runs
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Status = Participation.Status


@pytest.fixture
def device() -> Device:
    return cluster.idle("desk")


@pytest.fixture
def run(device: Device) -> Run:
    run = cluster.led()
    participations.open_round(run, 1, [device])
    return run


def part(run: Run) -> Participation:
    return run.participations.get(round_number=1)


def test_a_round_is_opened_once_for_each_device(run: Run, device: Device) -> None:
    participations.open_round(run, 1, [device])
    assert part(run).status == Status.SELECTED


def test_progress_moves_the_phase_and_shows_the_batches(run: Run, device: Device) -> None:
    with cluster.heard() as heard:
        participations.progress(device, run.pk, 1, "downloading")
        participations.progress(device, run.pk, 1, "training", 3, 10)
        participations.progress(device, run.pk, 1, "training")
    assert part(run).status == Status.TRAINING
    assert [(m["status"], m.get("batch")) for m in heard] == [("downloading", None), ("training", 3)]
    assert {m["group"] for m in heard} == {f"job-{run.job_id}"}


@pytest.mark.parametrize("phase", ["accepted", "selected", "lost", "nonsense"])
def test_a_device_reports_only_what_it_can_know(run: Run, device: Device, phase: str) -> None:
    with cluster.heard() as heard:
        participations.progress(device, run.pk, 1, phase, 1, 2)
    assert (part(run).status, heard) == (Status.SELECTED, [])


def test_progress_after_the_round_closed_is_neither_stored_nor_shown(run: Run, device: Device) -> None:
    participations.settle(run, 1, device, Status.ACCEPTED, examples=600)
    with cluster.heard() as heard:
        participations.progress(device, run.pk, 1, "training", 9, 10)
    assert (part(run).status, heard) == (Status.ACCEPTED, [])


def test_a_device_that_takes_no_part_shows_no_progress(run: Run) -> None:
    stranger = cluster.idle("stranger")
    with cluster.heard() as heard:
        participations.progress(stranger, run.pk, 1, "training", 1, 10)
        participations.progress(stranger, 10_000_000, 1, "training", 1, 10)
    assert heard == []


def test_a_settled_part_has_its_numbers(run: Run, device: Device) -> None:
    with cluster.heard() as heard:
        participations.settle(run, 1, device, Status.ACCEPTED, examples=600, seconds=1.5, bytes_up=10)
    settled = part(run)
    assert (settled.status, settled.examples, settled.seconds, settled.bytes_up) == ("accepted", 600, 1.5, 10)
    assert settled.finished_at is not None
    (told,) = heard
    assert (told["status"], told["device_name"], told["examples"]) == ("accepted", "desk", 600)


def test_a_lost_part_may_still_arrive(run: Run, device: Device) -> None:
    participations.settle(run, 1, device, Status.LOST, reason_code="lost", reason="No answer.")
    participations.settle(run, 1, device, Status.LATE, reason_code="late", reason="Too late.")
    assert (part(run).status, part(run).reason) == ("late", "Too late.")


def test_an_accepted_part_stays_accepted_and_nothing_else_is_told(run: Run, device: Device) -> None:
    participations.settle(run, 1, device, Status.ACCEPTED, examples=600)
    with cluster.heard() as heard:
        participations.settle(run, 1, device, Status.LATE, reason_code="late", reason="A second answer.")
    assert (part(run).status, heard) == (Status.ACCEPTED, [])


def test_a_part_that_is_sent_again_begins_again(run: Run, device: Device) -> None:
    participations.progress(device, run.pk, 1, "training", 5, 10)
    participations.sent_again(run, 1, device, 2)
    assert (part(run).status, part(run).attempts) == (Status.SELECTED, 2)


def test_only_the_device_of_a_reservation_with_its_fence_is_ready(run: Run, device: Device) -> None:
    with cluster.heard() as heard:
        participations.ready(device, run.pk, run.fence + 1)
        participations.ready(cluster.idle("stranger"), run.pk, run.fence)
    assert heard == []
    with cluster.heard() as heard:
        participations.ready(device, run.pk, run.fence, working_on=1)
    assert [(m["type"], m["node"], m["working_on"]) for m in heard] == [("ready", device.node_id, 1)]
    assert run.reservations.get().ready_at <= timezone.now()


def test_a_released_device_is_not_ready(run: Run, device: Device) -> None:
    runs.release_device(device)
    with cluster.heard() as heard:
        participations.ready(device, run.pk, run.fence)
    assert heard == []


def test_the_run_hears_of_uploads_failures_and_closed_sockets(run: Run, device: Device) -> None:
    with cluster.heard() as heard:
        participations.uploaded(device, run.pk, 1)
        participations.failed(device, run.pk, 1, "x" * 100, "y" * 1000)
        participations.gone(device)
    assert [m["type"] for m in heard] == ["uploaded", "failed", "gone"]
    assert {m["group"] for m in heard} == {f"run-{run.pk}"}
    assert {m["node"] for m in heard} == {device.node_id}
    assert (len(heard[1]["code"]), len(heard[1]["message"]), heard[2]["final"]) == (40, 500, False)


def test_a_socket_that_is_older_than_its_node_still_speaks_for_it(run: Run, device: Device) -> None:
    Device.objects.filter(pk=device.pk).update(node_id="4711")
    device.node_id = ""
    with cluster.heard() as heard:
        participations.uploaded(device, run.pk, 1)
    assert [m["node"] for m in heard] == ["4711"]
