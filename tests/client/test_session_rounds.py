"""Which instructions and results count, and how a round ends early."""

import pytest

from tests.client.session_world import ASSIGNMENT, DEADLINE, instruction, settled, world

__all__ = ["world"]


def test_abandon_cancels_the_round_and_its_result_is_dropped(world):
    worker = world.training(1)
    world.session.abandon(12, 1)
    assert world.worker_gets("cancel")[1]["round"] == 1
    worker.finish(1)
    settled(world)
    assert world.quiet()
    world.engine.inbox += [instruction(1), instruction(2)]
    world.session.wake(12, 2)
    assert world.worker_gets("train")[1]["round"] == 2


@pytest.mark.parametrize("at", [(12, 0), (11, 1)])
def test_abandon_of_something_else_leaves_the_round_alone(world, at):
    worker = world.training(1)
    world.session.abandon(*at)
    worker.finish(1)
    world.hears("uploaded")


def test_a_result_of_the_run_before_is_not_taken_for_this_one(world):
    worker = world.training(1)
    world.session.release(12)
    world.session.start({**ASSIGNMENT, "run": 13})
    world.hears("ready")
    world.engine.inbox.append(instruction(1, run=13))
    world.session.wake(13, 1)
    for kind in ("cancel", "prepare", "train"):
        world.worker_gets(kind)
    worker.finish(1, run=12)
    worker.finish(1, run=13)
    world.hears("uploaded")
    assert world.engine.replies.get(timeout=DEADLINE)["run"] == 13
    assert world.engine.replies.empty()


def test_a_failed_round_is_said_and_its_repetition_is_not_tried(world):
    worker = world.training(1)
    worker.say(type="error", code="diverged", message="The loss is NaN.", round=1)
    failed = world.hears("failed")
    assert failed == {
        "type": "failed",
        "run": 12,
        "round": 1,
        "code": "diverged",
        "message": "The loss is NaN.",
    }
    world.worker_gets("cancel")
    world.engine.inbox.append(instruction(1))
    settled(world)
    assert world.quiet()


@pytest.mark.parametrize(
    "message", [instruction(1, run=11), instruction(1, fence=6), instruction(1, fence=8)]
)
def test_messages_of_other_runs_and_fences_are_passed_over(world, message):
    world.reserved()
    world.engine.inbox += [message, instruction(1)]
    world.session.wake(12, 1)
    _, train = world.worker_gets("train")
    assert (train["run"], train["fence"], train["round"]) == (12, 7, 1)
    assert world.told.empty()


def test_woken_for_a_round_that_is_done_it_says_so_again(world):
    worker = world.training(1)
    worker.finish(1)
    first = world.hears("uploaded")
    world.engine.replies.get(timeout=DEADLINE)
    world.session.wake(12, 1)
    assert world.hears("uploaded") == first
    world.session.abandon(12, 1)
    world.session.wake(12, 1)
    settled(world)
    assert world.quiet()


def test_an_instruction_that_cannot_be_read_is_said(world):
    world.reserved()
    bad = instruction(1)
    bad.content["fit"]["format"] = 2
    world.engine.inbox.append(bad)
    world.session.wake(12, 1)
    failed = world.hears("failed")
    assert (failed["round"], failed["code"]) == (None, "bad-instruction")


def test_a_failure_of_our_own_ends_the_round_and_not_the_session(world):
    worker = world.training(1)
    worker.say(b"trained", type="result", run=12, round=1)
    assert world.hears("failed")["code"] == "internal"
    world.worker_gets("cancel")
    world.engine.inbox.append(instruction(2))
    world.session.wake(12, 2)
    world.worker_gets("train")


def test_a_round_that_was_abandoned_before_its_message_came_is_not_begun(world):
    world.reserved()
    world.session.abandon(12, 1)
    world.engine.inbox += [instruction(1), instruction(2)]
    world.session.wake(12, 2)
    assert world.worker_gets("train")[1]["round"] == 2


def test_a_failure_to_prepare_one_run_is_not_blamed_on_the_next(world):
    worker = world.reserved()
    world.session.start({"run": 13, "fence": 1, "model": {"name": "2nn"}})
    worker.say(type="error", code="data-missing", message="no rows", run=12, round=None)
    assert world.hears("ready")["run"] == 13
    assert world.quiet() or world.told.get()[1]["type"] == "prepare"
