"""What a session does when the way to the engine breaks or loses something."""

from fl_client import connection
from fl_client.fleet import FleetError
from tests.client.session_world import ASSIGNMENT, DEADLINE, broken, instruction, world

__all__ = ["world"]


def test_an_answer_that_cannot_be_handed_in_is_kept_for_the_next_link(world):
    worker = world.training(1)
    world.engine.failures["reply"] = [broken(), broken()]
    worker.finish(1)
    assert world.hears("uploaded")["round"] == 1
    assert world.hears("ready")["round"] == 1
    assert world.engine.opened == 3
    assert world.engine.replies.get(timeout=DEADLINE)["weights"] == b"trained"
    assert [world.engine.left.get_nowait() for _ in range(2)] == [FleetError, FleetError]


def test_an_answer_of_an_abandoned_round_is_not_handed_in_after_reconnecting(world, monkeypatch):
    monkeypatch.setattr(connection, "HOPELESS", 60.0)
    worker = world.training(1)
    world.engine.failures["reply"] = [broken(retry=False)]
    worker.finish(1)
    world.engine.left.get(timeout=DEADLINE)
    world.session.abandon(12, 1)
    assert world.worker_gets("cancel")[1]["round"] == 1
    assert world.quiet()


def test_a_broken_link_is_opened_again_until_it_holds(world):
    world.engine.failures["open"] = [broken(), broken(retry=False), broken()]
    world.session.start(ASSIGNMENT)
    assert world.hears("ready")["round"] is None
    assert world.engine.opened == 1


def test_a_message_lost_on_its_way_is_asked_for_again_by_saying_ready(world):
    world.reserved()
    world.engine.failures["pull"] = [broken()]
    world.session.wake(12, 1)
    assert world.hears("ready")["round"] is None


def test_an_answer_that_got_lost_is_handed_in_again_without_training_again(world):
    worker = world.training(1)
    worker.finish(1)
    world.hears("uploaded")
    world.engine.inbox.append(instruction(1))
    world.session.wake(12, 1)
    world.hears("uploaded")
    world.hears("uploaded")
    assert [world.engine.replies.get_nowait()["weights"] for _ in range(2)] == [b"trained", b"trained"]
    assert world.told.empty()
