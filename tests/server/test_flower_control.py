from collections.abc import Callable
from typing import Any

import httpx
import pytest
from flwr.proto.control_pb2 import (
    ListNodesResponse,
    ListRunsRequest,
    ListRunsResponse,
    RegisterNodeRequest,
    RegisterNodeResponse,
    StartRunRequest,
    StartRunResponse,
    StopRunRequest,
    StopRunResponse,
    UnregisterNodeRequest,
    UnregisterNodeResponse,
)
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.run_pb2 import Run as FlowerRun
from flwr.proto.run_pb2 import RunStatus

from fl_server.exceptions import Conflict, EngineUnavailable
from fl_server.flower import control, engine, fleet, launch
from fl_server.flower.fab import fab
from fl_server.models import Device, Run
from fl_server.services import runs
from tests.server.world import device, job

KEY = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"


class Engine:
    """The Control API inside the HTTP transport: a body to answer with, or a status, for each route."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.answers: dict[str, Any] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/v1/control/")
        self.asked.append((name, request.content))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return httpx.Response(answer, text="the engine's own words")
        return httpx.Response(200, content=answer.SerializeToString())

    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


@pytest.fixture
def superlink(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    client = engine.ControlHttpClient("https://engine")
    client._client = httpx.Client(transport=httpx.MockTransport(made))
    monkeypatch.setattr(engine, "control_client", lambda: client)
    return made


def test_a_new_key_is_registered_under_the_devices_name(superlink):
    superlink.answers["register-node"] = RegisterNodeResponse(node_id=2**63 + 5)
    assert control.register_node(KEY, "otto-desk") == str(2**63 + 5)
    request = RegisterNodeRequest.FromString(superlink.asked[0][1])
    assert (request.public_key, request.name) == (KEY.encode(), "otto-desk")


def test_a_key_that_is_registered_already_gives_the_same_node(superlink):
    superlink.answers["register-node"] = 412
    nodes = [NodeInfo(node_id=1, public_key=b"another"), NodeInfo(node_id=7, public_key=KEY.strip().encode())]
    superlink.answers["list-nodes"] = ListNodesResponse(nodes_info=nodes)
    assert control.register_node(KEY, "otto-desk") == "7"


def test_a_key_that_was_shut_out_is_not_taken_for_registered(superlink):
    superlink.answers["register-node"] = 412
    node = NodeInfo(node_id=7, public_key=KEY.encode(), status="unregistered")
    superlink.answers["list-nodes"] = ListNodesResponse(nodes_info=[node])
    with pytest.raises(Conflict):
        control.register_node(KEY, "otto-desk")


def test_a_key_that_the_engine_refuses_for_good_is_a_conflict(superlink):
    superlink.answers["register-node"] = 412
    superlink.answers["list-nodes"] = ListNodesResponse()
    with pytest.raises(Conflict, match="the engine's own words"):
        control.register_node(KEY, "otto-desk")


def test_a_run_starts_with_our_ids_and_a_bundle_that_carries_no_code(superlink):
    superlink.answers["start-run"] = StartRunResponse(run_id=99)
    assert control.start_run(12, 7) == 99
    request = StartRunRequest.FromString(superlink.asked[0][1])
    assert {key: value.sint64 for key, value in request.override_config.items()} == {"run": 12, "fence": 7}
    assert request.fab.content == fab().content


CALLS: list[tuple[str, Callable[[], object]]] = [
    ("unregister-node", lambda: control.unregister_node("7")),
    ("stop-run", lambda: control.stop_run("99")),
]


@pytest.mark.parametrize(("route", "call"), CALLS)
@pytest.mark.parametrize("status", [404, 412])
def test_what_is_out_already_is_fine(superlink, route, call, status):
    superlink.answers[route] = status
    call()
    assert superlink.names() == [route]


@pytest.mark.parametrize(("route", "call"), CALLS)
@pytest.mark.parametrize("status", [400, 401, 403, 429])
def test_a_refusal_is_not_taken_for_success(superlink, route, call, status):
    superlink.answers[route] = status
    with pytest.raises(Conflict):
        call()


@pytest.mark.parametrize(("route", "call"), [*CALLS, ("start-run", lambda: control.start_run(12, 7))])
@pytest.mark.parametrize("answer", [500, 503, httpx.ConnectError("refused"), httpx.ReadTimeout("slow")])
def test_an_engine_that_does_not_answer_is_unavailable(superlink, route, call, answer):
    superlink.answers[route] = answer
    with pytest.raises(EngineUnavailable):
        call()


def test_ids_travel_as_unsigned_64_bit(superlink):
    superlink.answers = {
        "unregister-node": UnregisterNodeResponse(),
        "stop-run": StopRunResponse(success=True),
    }
    control.unregister_node(str(2**64 - 1))
    control.stop_run(str(2**64 - 1))
    assert UnregisterNodeRequest.FromString(superlink.asked[0][1]).node_id == 2**64 - 1
    assert StopRunRequest.FromString(superlink.asked[1][1]).run_id == 2**64 - 1


class TestSettle:
    def test_one_device_that_fails_holds_up_nobody_else(self, superlink, world):
        Device.objects.filter(pk=world.foreign_device.pk).update(node_key=KEY)
        nodes = [NodeInfo(node_id=7, public_key=KEY.encode())]
        superlink.answers = {"register-node": 412, "list-nodes": ListNodesResponse(nodes_info=nodes)}
        fleet.settle()
        world.foreign_device.refresh_from_db()
        world.training.refresh_from_db()
        assert (world.foreign_device.node_id, world.training.node_id) == ("7", "")

    def test_a_revoked_device_is_shut_out_once(self, superlink, world):
        superlink.answers = {"register-node": 412, "list-nodes": ListNodesResponse(), "unregister-node": 404}
        revoked = device(world.owner, "old", Device.Status.REVOKED, node_id="8")
        fleet.settle()
        fleet.settle()
        assert superlink.names().count("unregister-node") == 1
        revoked.refresh_from_db()
        assert revoked.node_unregistered_at

    def test_a_revoked_device_stays_due_while_the_engine_is_away(self, superlink, world):
        superlink.answers = {"register-node": 412, "list-nodes": ListNodesResponse(), "unregister-node": 503}
        device(world.owner, "old", Device.Status.REVOKED, node_id="8")
        fleet.settle()
        fleet.settle()
        assert superlink.names().count("unregister-node") == 2

    def test_an_ended_run_is_stopped_once(self, superlink, world):
        superlink.answers = {"register-node": 412, "list-nodes": ListNodesResponse()}
        superlink.answers["stop-run"] = StopRunResponse(success=True)
        ended = Run.Status.FAILED
        Run.objects.create(job=world.draft, number=1, fence=1, partitions=1, status=ended, engine_run_id="99")
        fleet.settle()
        fleet.settle()
        assert superlink.names().count("stop-run") == 1


class TestLaunch:
    def launched(self, owner: Any) -> Run:
        status = Run.Status.LAUNCHED
        of = job(owner, "Launched", "running")
        return Run.objects.create(job=of, number=1, fence=1, partitions=1, status=status)

    def test_a_started_run_knows_its_engine_run(self, superlink, world):
        superlink.answers["start-run"] = StartRunResponse(run_id=2**63 + 1)
        run = self.launched(world.researcher)
        launch.start(run)
        run.refresh_from_db()
        assert (run.engine_run_id, run.status) == (str(2**63 + 1), Run.Status.LAUNCHED)

    def test_an_engine_that_refuses_fails_the_run_with_a_reason(self, superlink, world):
        superlink.answers["start-run"] = 412
        run = self.launched(world.researcher)
        launch.start(run)
        run.refresh_from_db()
        assert (run.status, run.reason_code) == (Run.Status.FAILED, "launch-failed")
        assert run.reason

    def test_an_engine_that_is_away_is_asked_again_for_the_same_run(self, superlink, world):
        superlink.answers["start-run"] = 503
        run = self.launched(world.researcher)
        launch.start(run)
        run.refresh_from_db()
        assert run.status == Run.Status.PREPARING
        assert runs.launched(run)

    @pytest.mark.parametrize(
        ("answer", "status"),
        [
            (ListRunsResponse(run_dict={99: FlowerRun(status=RunStatus(status="running"))}), "launched"),
            (ListRunsResponse(run_dict={99: FlowerRun(status=RunStatus(status="finished"))}), "failed"),
            (ListRunsResponse(), "failed"),
            (404, "failed"),
            (503, "launched"),
        ],
    )
    def test_a_run_that_ended_before_it_began_is_noticed(self, superlink, world, answer, status):
        superlink.answers["list-runs"] = answer
        run = self.launched(world.researcher)
        runs.attach_engine(run, 99)
        launch.end_stopped()
        run.refresh_from_db()
        assert (run.status, run.reason_code) == (status, "engine-stopped" if status == "failed" else "")
        assert ListRunsRequest.FromString(superlink.asked[0][1]).run_id == 99

    def test_a_run_that_began_meanwhile_is_left_to_its_lease(self, superlink, world, monkeypatch):
        run = self.launched(world.researcher)
        runs.attach_engine(run, 99)
        monkeypatch.setattr(control, "has_ended", lambda _: bool(runs.start(run)))
        launch.end_stopped()
        run.refresh_from_db()
        assert run.status == Run.Status.RUNNING


def test_an_engine_that_is_away_is_told_of_without_numbers_of_the_system(superlink):
    superlink.answers["start-run"] = httpx.ConnectError("[Errno 111] Connection refused")
    with pytest.raises(EngineUnavailable, match=r"^The training engine does not answer\.$"):
        control.start_run(1, 1)
