"""The owner comes back: the machine is theirs within a second, and the work is not lost."""

import json

import pytest

from fl_client import weights, yielding
from fl_client.lending import Lent
from tests.client.session_world import DEADLINE, instruction, world

__all__ = ["world"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(yielding, "PARK_SECONDS", 0.05)


def test_a_worker_that_parks_in_time_keeps_its_process_and_goes_on_from_its_place(world):
    worker = world.training(1)
    world.session.hold()
    world.worker_gets("park")
    worker.park(1, done=4)
    assert world.hears("parked") == {"type": "parked", "run": 12, "round": 1, "examples": 160}
    assert not worker.ended.is_set()
    world.session.go_on()
    _, train = world.worker_gets("train")
    assert (train["round"], train["resume"], train["weights"]) == (1, True, b"model 1")
    assert world.hears("ready")["round"] == 1
    worker.finish(1)
    uploaded = world.hears("uploaded")
    assert (uploaded["partial"], uploaded["lost_seconds"]) == (False, 0.0)
    assert world.engine.replies.get(timeout=DEADLINE)["examples"] == 400


def test_a_batch_that_lasts_too_long_is_suspended_and_goes_on_where_it_was(world):
    worker = world.training(1)
    worker.keep(1, done=3)
    world.session.hold()
    world.worker_gets("park")
    assert world.moves.get(timeout=DEADLINE) == "still"
    assert world.hears("parked")["examples"] == 120
    world.session.go_on()
    assert world.moves.get(timeout=DEADLINE) == "on"
    assert world.hears("ready")["round"] == 1
    worker.park(1, done=5)
    _, train = world.worker_gets("train")
    assert train["resume"] is True
    worker.finish(1)
    world.hears("uploaded")
    assert len(world.workers) == 1


def test_an_owner_who_is_back_for_a_moment_costs_nothing(world):
    worker = world.training(1)
    world.session.hold()
    world.worker_gets("park")
    world.session.go_on()
    worker.park(1, done=2)
    assert world.worker_gets("train")[1]["resume"] is True
    assert world.moves.empty()
    assert world.quiet()


def test_on_a_gpu_a_parked_worker_ends_and_another_one_goes_on(world):
    world.device = "cuda:0"
    worker = world.training(1)
    world.session.hold()
    world.worker_gets("park")
    worker.park(1, done=4)
    assert world.hears("parked")["examples"] == 160
    assert worker.ended.wait(DEADLINE)
    world.session.go_on()
    another, _ = world.worker_gets("prepare")
    assert another is not worker
    assert world.worker_gets("train")[1]["resume"] is True


def test_on_a_gpu_a_worker_that_does_not_park_is_killed_and_the_loss_is_measured(world):
    world.device = "cuda:0"
    worker = world.training(1)
    worker.keep(1, done=3, seconds=0.0)
    world.session.hold()
    world.worker_gets("park")
    assert worker.ended.wait(DEADLINE)
    assert world.hears("parked")["examples"] == 120
    world.session.go_on()
    another, _ = world.worker_gets("prepare")
    world.worker_gets("train")
    world.hears("ready")
    another.finish(1)
    assert 0.04 < world.hears("uploaded")["lost_seconds"] < 5


def test_a_warm_worker_without_work_gives_a_gpu_back_at_once_and_stays_elsewhere(world):
    worker = world.reserved()
    world.session.hold()
    world.session.go_on()
    world.hears("ready")
    assert not worker.ended.is_set()
    world.device = "cuda:0"
    worker.say(type="hello", pid=1, device="cuda:0")
    world.session.hold()
    assert worker.ended.wait(DEADLINE)


def test_where_nothing_was_done_the_device_says_so_at_once(world):
    world.training(1)
    world.session.hold()
    world.worker_gets("park")
    failed = world.hears("failed")
    assert (failed["round"], failed["code"]) == (1, "owner-returned")
    assert world.ended.get(timeout=DEADLINE) == (1, "owner-returned")


def test_a_device_that_is_held_takes_no_work_until_it_goes_on(world):
    world.reserved()
    world.session.hold()
    world.engine.inbox.append(instruction(1))
    world.session.wake(12, 1)
    world.session.go_on()
    _, train = world.worker_gets("train")
    assert train["round"] == 1
    assert world.hears("ready")["round"] == 1


def test_a_reservation_while_the_owner_is_there_starts_no_worker(world):
    world.session.hold()
    world.session.start({"run": 12, "fence": 7, "model": {"name": "2nn"}})
    world.session.go_on()
    world.worker_gets("prepare")
    world.hears("ready")
    assert len(world.workers) == 1


def test_a_worker_that_is_still_loading_lies_still_and_is_ready_later(world):
    world.prepares_slowly = True
    world.session.start({"run": 12, "fence": 7, "model": {"name": "2nn"}})
    worker, _ = world.worker_gets("prepare")
    world.session.hold()
    world.worker_gets("park")
    assert world.moves.get(timeout=DEADLINE) == "still"
    world.session.go_on()
    assert world.moves.get(timeout=DEADLINE) == "on"
    worker.say(type="prepared", run=12, rows=400, seconds=0.1)
    assert world.hears("ready")["rows"] == 400


def test_when_the_round_closes_what_was_done_is_handed_in_with_its_weight(world):
    worker = world.training(1)
    world.session.hold()
    world.worker_gets("park")
    worker.park(1, done=4)
    world.hears("parked")
    world.session.finish(12, 1)
    uploaded = world.hears("uploaded")
    assert (uploaded["round"], uploaded["partial"]) == (1, True)
    reply = world.engine.replies.get(timeout=DEADLINE)
    assert reply["examples"] == 160
    assert list(weights.unpack(reply["weights"])["w"]) == [4, 4, 4]
    assert json.loads(reply["metrics"]) == {"eval-loss": 2.0, "seconds": 0.5, "done": 0.4}
    assert world.ended.get(timeout=DEADLINE) == (1, "partial")
    assert not (world.folder / "round.safetensors").exists()


def test_a_suspended_worker_computes_no_further_on_a_round_that_was_handed_in(world):
    worker = world.training(1)
    worker.keep(1, done=3)
    world.session.hold()
    world.worker_gets("park")
    world.hears("parked")
    world.session.finish(12, 1)
    assert world.hears("uploaded")["partial"] is True
    assert worker.ended.is_set()


def test_a_device_that_trains_on_parks_to_hand_in(world):
    worker = world.training(1)
    world.session.finish(12, 1)
    world.worker_gets("park")
    worker.park(1, done=7)
    assert world.hears("uploaded")["partial"] is True
    assert world.engine.replies.get(timeout=DEADLINE)["examples"] == 280


def test_a_finish_for_another_round_is_not_heeded(world):
    world.training(2)
    world.session.finish(12, 1)
    world.session.finish(11, 2)
    world.session.wake(12, 2)
    assert world.quiet()


def test_a_parked_device_says_so_again_after_a_reconnection(world):
    worker = world.training(1)
    world.session.hold()
    world.worker_gets("park")
    worker.park(1, done=4)
    world.hears("parked")
    world.session.start({"run": 12, "fence": 7, "model": {"name": "2nn"}})
    assert world.hears("parked")["examples"] == 160


def test_a_suspended_worker_that_holds_more_memory_than_it_may_ends_and_the_loss_counts(world):
    worker = world.training(1)
    worker.keep(1, done=3, seconds=0.0)
    world.session.hold()
    world.hears("parked")
    world.worker_bytes = 500
    world.session.lend(Lent(1, gpus=(), ram_bytes=1000))
    assert not worker.ended.wait(0.1)
    world.session.lend(Lent(1, gpus=(), ram_bytes=400))
    assert worker.ended.wait(DEADLINE)
    world.session.go_on()
    another, _ = world.worker_gets("park")
    another, _ = world.worker_gets("prepare")
    world.worker_gets("train")
    world.hears("ready")
    another.finish(1)
    assert world.hears("uploaded")["lost_seconds"] > 0


def test_a_cancelled_run_frees_the_machine_within_a_second_whatever_the_worker_does(world):
    worker = world.training(1)
    world.session.release(12)
    world.worker_gets("cancel")
    assert worker.ended.wait(DEADLINE)


def test_a_worker_that_heeds_the_cancellation_stays_warm(world):
    worker = world.training(1)
    world.session.release(12)
    world.worker_gets("cancel")
    worker.say(type="cancelled", round=1)
    assert not worker.ended.wait(0.2)


def test_threads_change_with_the_next_batch_and_need_no_other_worker(world):
    world.training(1)
    world.session.lend(Lent(7, gpus=()))
    assert world.worker_gets("limits")[1]["threads"] == 7
    assert len(world.workers) == 1


def test_a_worker_moves_to_another_process_when_it_may_no_longer_use_its_gpu(world):
    world.device = "cuda:0"
    worker = world.training(1)
    world.session.lend(Lent(1, gpus=()))
    world.worker_gets("park")
    worker.park(1, done=4)
    assert worker.ended.wait(DEADLINE)
    world.worker_gets("prepare")
    assert world.worker_gets("train")[1]["resume"] is True
