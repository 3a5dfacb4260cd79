"""Whom a round begins with."""

import pytest

from strategies.link import Stopped

from .grid_world import A, B, C, grid_of, messages, run, world

__all__ = ["world"]


class TestGather:
    def test_the_first_round_waits_for_every_reserved_device(self, world):
        world.connected = {A}
        world.come_back(4.0, B)
        world.come_back(9.0, C)
        assert grid_of(world).gather(lambda: {A, B, C}, 1) == [A, B, C]
        assert world.now == 9.0

    def test_the_first_round_begins_without_a_device_that_never_comes(self, world):
        world.connected = {A, B}
        assert grid_of(world, join=30.0).gather(lambda: {A, B, C}, 1) == [A, B]
        assert 30.0 <= world.now < 31.0

    def test_a_later_round_takes_whoever_is_there(self, world):
        grid = grid_of(world)
        grid.gather(lambda: {A, B, C}, 1)
        world.connected = {A, C}
        now = world.now
        assert grid.gather(lambda: {A, B, C}, 2) == [A, C]
        assert world.now == now

    def test_who_answered_a_moment_ago_is_waited_for_a_little(self, world):
        grid = grid_of(world, rejoin=3.0)
        grid.gather(lambda: {A, B, C}, 1)
        for node in (A, B):
            world.answer(1.0, node)
        world.leave(1.5, C)
        run(grid, messages())
        world.connected, lost_at = {A}, world.now
        world.come_back(lost_at + 1.0, B)
        assert grid.gather(lambda: {A, B, C}, 1) == [A, B]
        assert world.now == lost_at + 1.0
        world.connected = {A}
        assert grid.gather(lambda: {A, B, C}, 1) == [A]
        assert lost_at + 4.0 <= world.now < lost_at + 5.0

    def test_a_later_round_waits_for_the_number_that_it_needs(self, world):
        grid = grid_of(world)
        grid.gather(lambda: {A, B, C}, 1)
        world.connected = {A}
        world.come_back(5.0, B)
        assert grid.gather(lambda: {A, B, C}, 2) == [A, B]
        assert world.now == 5.0

    def test_it_returns_fewer_than_needed_when_the_time_is_over(self, world):
        world.connected = set()
        assert grid_of(world, deadline=10.0).gather(lambda: {A}, 1) == []
        assert 10.0 <= world.now < 11.0

    def test_devices_that_can_no_longer_do_the_work_are_left_out(self, world):
        assert grid_of(world).gather(lambda: {A, B}, 1) == [A, B]

    def test_it_stops_when_the_run_is_cancelled(self, world):
        world.connected = set()
        world.at(1.0, world.stop.set)
        with pytest.raises(Stopped):
            grid_of(world).gather(lambda: {A}, 1)
        assert world.now <= 1.5
