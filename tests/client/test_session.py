"""A session from its reservation to its release."""

import json

from fl_client import session
from tests.client.session_world import ASSIGNMENT, DEADLINE, instruction, world

__all__ = ["world"]


def test_a_device_goes_from_its_reservation_through_a_round_to_the_next(world):
    worker = world.reserved()
    world.engine.inbox.append(instruction(1))
    world.session.wake(12, 1)
    _, train = world.worker_gets("train")
    assert train == {
        "type": "train",
        "run": 12,
        "round": 1,
        "fence": 7,
        "config": {"mu": 0.1},
        "weights": b"model 1",
        "keep": str(world.folder / "round.safetensors"),
        "resume": False,
    }
    worker.say(type="progress", run=12, round=1, batch=3, batches=13)
    progress = world.hears("progress")
    assert (progress["phase"], progress["batch"], progress["batches"]) == ("training", 3, 13)
    worker.finish(1)
    uploaded = world.hears("uploaded")
    took = [uploaded.pop(name) for name in ("train_seconds", "transfer_seconds")]
    assert all(0 <= seconds < DEADLINE for seconds in took)
    costs = {"partial": False, "lost_seconds": 0.0, "energy_wh": None}
    assert uploaded == {"type": "uploaded", "run": 12, "round": 1, **costs}
    answer = world.engine.replies.get(timeout=DEADLINE)
    assert [answer[key] for key in ("run", "round", "fence", "examples")] == [12, 1, 7, 400]
    assert (json.loads(answer["metrics"]), answer["weights"]) == ({"train-loss": 0.5}, b"trained")
    world.engine.inbox.append(instruction(2))
    world.session.wake(12, 2)
    assert world.worker_gets("train")[1]["weights"] == b"model 2"


def test_a_lost_wake_up_costs_only_the_time_to_the_next_look(world, monkeypatch):
    monkeypatch.setattr(session, "LOOK_EVERY", 0.02)
    world.reserved()
    world.engine.inbox.append(instruction(1))
    world.worker_gets("train")


def test_a_wake_up_for_the_next_round_ends_the_one_that_nobody_waits_for_any_more(world):
    worker = world.training(1)
    world.engine.inbox.append(instruction(2))
    world.session.wake(12, 2)
    assert world.worker_gets("cancel")[1]["round"] == 1
    assert world.worker_gets("train")[1]["round"] == 2
    worker.say(type="cancelled", round=1)
    worker.finish(2)
    assert world.hears("uploaded")["round"] == 2


def test_a_wake_up_that_came_before_the_worker_was_warm_is_not_lost(world):
    world.engine.inbox.append(instruction(1))
    world.session.start(ASSIGNMENT)
    assert world.hears("ready")["round"] == 1
    world.worker_gets("prepare")
    world.worker_gets("train")


def test_reserved_again_for_the_same_run_it_says_ready_with_the_round_in_hand(world):
    worker = world.training(3)
    world.session.start(ASSIGNMENT)
    assert world.hears("ready")["round"] == 3
    worker.finish(3)
    world.hears("uploaded")
    world.session.start(ASSIGNMENT)
    assert world.hears("ready")["round"] == 3
    assert world.engine.opened == 1
    assert len(world.workers) == 1


def test_reserved_with_a_newer_fence_it_starts_over(world):
    world.training(3)
    world.session.start({**ASSIGNMENT, "fence": 8})
    assert world.worker_gets("cancel")[1]["round"] == 3
    assert world.worker_gets("prepare")[1]["assignment"]["fence"] == 8
    assert world.hears("ready") == {"type": "ready", "run": 12, "fence": 8, "round": None, "rows": 400}
    assert world.engine.opened == 2


def test_release_closes_the_link_and_keeps_the_worker_warm(world):
    worker = world.training(1)
    world.session.release(12)
    assert world.worker_gets("cancel")[1]["round"] == 1
    assert world.engine.left.get(timeout=DEADLINE) is None
    assert not worker.ended.is_set()
    world.session.start({**ASSIGNMENT, "run": 13})
    assert world.worker_gets("prepare")[0] is worker
    assert world.hears("ready")["run"] == 13


def test_release_of_another_run_is_ignored(world):
    worker = world.training(1)
    world.session.release(11)
    worker.finish(1)
    world.hears("uploaded")


def test_close_before_any_reservation_is_quick(world):
    world.session.close()
    assert world.workers == []
