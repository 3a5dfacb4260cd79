from types import SimpleNamespace

from fl_client import connection, fleet_session
from fl_client.home import State
from tests.client.session_world import ASSIGNMENT, DEADLINE, Worker, world

__all__ = ["world"]


def test_a_reservation_that_overtakes_the_approval_waits_for_the_nodes_id(world, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "RETRY_FIRST", 0.01)
    agent = SimpleNamespace(
        state=State("http://127.0.0.1:9", "id", "desk"),
        identity=SimpleNamespace(node_key=None, clock=SimpleNamespace(offset=0.0)),
        home=SimpleNamespace(file=lambda name: tmp_path / name),
        narrator=SimpleNamespace(heard=lambda message: None, ended=lambda work, outcome: None),
        socket=SimpleNamespace(send=world.said.put),
    )
    monkeypatch.setattr(fleet_session, "FleetLink", lambda *args, **facts: world.engine)
    session = fleet_session.open(agent)
    session._bench._worker._spawn = lambda on_frame, variables: Worker(world, on_frame)
    try:
        session.start(ASSIGNMENT)
        world.worker_gets("prepare")
        assert world.said.empty()
        agent.state = State("http://127.0.0.1:9", "id", "desk", node_id="7")
        assert world.said.get(timeout=DEADLINE)["type"] == "ready"
    finally:
        session.close()
