"""What a round took: training and transfer are measured apart."""

import time

import pytest

from tests.client.session_world import broken, settled, world

__all__ = ["world"]

MOMENT = 0.1  # seconds


@pytest.fixture
def slow(world, monkeypatch):
    """A way to the engine that takes a moment down and a moment up."""
    pull, reply = world.engine.pull, world.engine.reply

    def slowly(call):
        def wait(*args):
            time.sleep(MOMENT)
            return call(*args)

        return wait

    monkeypatch.setattr(world.engine, "pull", slowly(pull))
    monkeypatch.setattr(world.engine, "reply", slowly(reply))
    return world


def test_fetching_and_handing_in_count_as_transfer_and_not_as_training(slow):
    slow.training(1).finish(1)
    uploaded = slow.hears("uploaded")
    assert 2 * MOMENT <= uploaded["transfer_seconds"] < 20 * MOMENT
    assert uploaded["train_seconds"] < MOMENT


def test_training_counts_as_training_and_not_as_transfer(world):
    worker = world.training(1)
    time.sleep(MOMENT)
    worker.finish(1)
    uploaded = world.hears("uploaded")
    assert MOMENT <= uploaded["train_seconds"] < 20 * MOMENT
    assert uploaded["transfer_seconds"] < MOMENT


def test_an_upload_that_failed_and_the_wait_for_the_next_one_do_not_count(world):
    worker = world.training(1)
    world.engine.failures["reply"] = [broken()]
    worker.finish(1)
    uploaded = world.hears("uploaded")
    assert uploaded["transfer_seconds"] < MOMENT
    settled(world)
