from typing import Any

import pytest
from django.conf import settings
from kombu import Connection, Queue

from fl_server import evaluation, tasks
from fl_server.flower import launch
from fl_server.models import Checkpoint, Device, Run
from fl_server.services import runs
from tests.server import cluster

pytestmark = [pytest.mark.services, pytest.mark.django_db]

QUEUED_FOR_EVALUATION = (tasks.prepare_run, tasks.evaluate_checkpoint)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """What would have gone to the queue."""
    found: list[tuple[str, tuple[Any, ...]]] = []
    for task in (
        tasks.prepare_run,
        tasks.launch_run,
        tasks.settle_engine,
        tasks.end_stopped,
        tasks.evaluate_checkpoint,
    ):
        name = task.name.rpartition(".")[2]
        monkeypatch.setattr(task, "delay", lambda *args, name=name: found.append((name, args)))
    return found


def test_a_tick_starts_what_may_start(sent: list[Any]) -> None:
    device = cluster.idle("desk")
    job = cluster.queued()
    with cluster.heard() as heard:
        tasks.tick()
    run = job.runs.get()
    assert sent == [("prepare_run", (run.pk,)), ("launch_run", (run.pk,))]
    assert [m["group"] for m in heard if m.get("type") == "reserve"] == [f"device-{device.pk}"]


def test_a_tick_with_nothing_to_do_sends_nothing(sent: list[Any]) -> None:
    tasks.tick()
    assert sent == []


def test_a_tick_tells_the_engine_what_it_missed(sent: list[Any]) -> None:
    cluster.idle("new", node_id="")
    tasks.tick()
    assert sent == [("settle_engine", ())]


def test_a_tick_asks_the_engine_about_runs_whose_process_is_silent(sent: list[Any]) -> None:
    cluster.idle("desk")
    run = cluster.claimed()
    runs.launched(run)
    runs.attach_engine(run, 7)
    tasks.tick()
    assert sent == [("end_stopped", ())]
    runs.start(run)
    tasks.tick()
    assert sent[1:] == []


def test_a_tick_frees_devices_before_it_looks_for_work(sent: list[Any]) -> None:
    cluster.idle("desk")
    lost = cluster.led()
    cluster.let_lease_lapse(lost)
    cluster.queued("next")
    tasks.tick()
    assert list(Run.objects.order_by("pk").values_list("status", flat=True)) == ["failed", "preparing"]


def test_a_tick_tells_a_newcomer_what_it_is_to_do(sent: list[Any]) -> None:
    cluster.idle_devices(2)
    run = cluster.led(cluster.queued(participation={"max_devices": 2}))
    runs.prepared(run, [1, 1])
    spare = cluster.idle("spare")
    runs.release_device(run.reservations.first().device)
    Device.objects.filter(name__startswith="desk").update(may_start=False)
    with cluster.heard() as heard:
        tasks.tick()
    assert [m["group"] for m in heard if m.get("type") == "reserve"] == [f"device-{spare.pk}"]


def test_devices_are_told_even_where_the_queue_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(tasks.prepare_run, "delay", refuse)
    cluster.idle_devices(2)
    cluster.queued("first", participation={"max_devices": 1})
    cluster.queued("second")
    with cluster.heard() as heard, pytest.raises(ConnectionError):
        tasks.tick()
    assert len([m for m in heard if m.get("type") == "reserve"]) == 2


def test_a_run_is_launched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Run] = []
    monkeypatch.setattr(launch, "start", started.append)
    cluster.idle("desk")
    run = cluster.claimed()
    tasks.launch_run(run.pk)
    tasks.launch_run(run.pk)
    assert started == [run]


def test_a_run_is_prepared_once_and_not_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Run] = []
    monkeypatch.setattr(evaluation, "prepare", asked.append)
    cluster.idle("desk")
    run = cluster.claimed()
    tasks.prepare_run(run.pk)
    assert asked == [run]
    runs.prepared(run, [1])
    tasks.prepare_run(run.pk)
    runs.cancel(run, "test")
    Run.objects.filter(pk=run.pk).update(prepared_at=None)
    tasks.prepare_run(run.pk)
    assert asked == [run]


def test_the_evaluation_of_a_checkpoint_that_is_gone_is_no_error() -> None:
    tasks.evaluate_checkpoint(4711)


def test_a_round_is_passed_over_only_while_others_wait_and_a_newer_one_does_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tested: list[Checkpoint] = []
    monkeypatch.setattr(evaluation, "evaluate", tested.append)
    cluster.idle("desk")
    run = cluster.led()
    old, new = (
        Checkpoint.objects.create(job=run.job, run=run, round_number=number, size=1) for number in (1, 2)
    )
    tasks.evaluate_checkpoint(old.pk)
    assert tested == [old]
    cluster.idle("lab")
    cluster.claimed(cluster.queued("another"))
    for checkpoint in (old, new):
        tasks.evaluate_checkpoint(checkpoint.pk)
    assert tested == [old, new]


def test_a_preparation_goes_before_all_tests_that_wait() -> None:
    """As the evaluator of the Procfile takes them, one at a time."""
    names = {task: settings.CELERY_TASK_ROUTES[task.name]["queue"] for task in QUEUED_FOR_EVALUATION}
    queues = [Queue(f"order-{name}", no_declare=True) for name in reversed(names.values())]
    taken: list[str] = []

    def take(body: str, message: Any) -> None:
        taken.append(body)
        message.ack()

    options = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS, "polling_interval": 0.01}
    with Connection(settings.CELERY_BROKER_URL, transport_options=options) as connection:
        for body in ("tests", "tests", "tests", "preparation"):
            connection.SimpleQueue(f"order-{body}").put(body)
        with connection.Consumer(queues, callbacks=[take], prefetch_count=1):
            while len(taken) < 4:
                connection.drain_events(timeout=5)
    assert taken == ["preparation", "tests", "tests", "tests"]
    assert all(task.acks_late for task in QUEUED_FOR_EVALUATION)
