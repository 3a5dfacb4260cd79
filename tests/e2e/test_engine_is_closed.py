"""The engine, started exactly as the Procfile starts it, as a stranger meets it from outside."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.control_pb2 import ListRunsRequest, RegisterNodeRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, RegisterNodeFleetRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes
from flwr.superlink.main import create_app
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from constellation_web.gateway import ROUTES
from tests.e2e.processes import manage, started

pytestmark = pytest.mark.e2e

PROTOBUF = {"content-type": "application/protobuf"}


@dataclass(frozen=True)
class Outside:
    """Addresses of a running engine and of the web process in front of it."""

    web: str
    engine: str
    ca: bytes
    home: str

    def approve(self, public_key: bytes, node_id: int) -> None:
        """Let the platform know a device of this node."""
        facts = {"name": "mine", "status": "approved", "identity_key": "mine", "node_id": str(node_id)}
        program = (
            "from django.contrib.auth.models import User\n"
            "from fl_server.models import Device\n"
            f"Device.objects.create(owner=User.objects.create(username='otto'), "
            f"node_key={public_key.decode()!r}, **{facts!r})"
        )
        manage("shell", "-v", "0", "-c", program, CONSTELLATION_HOME=self.home)

    def post(self, path: str, method: str = "POST") -> int:
        return httpx.request(method, f"http://{self.web}{path}", content=b"", headers=PROTOBUF).status_code

    def control(self) -> ControlHttpClient:
        names = [RuntimeVersionHttpInterceptor(component_name="test")]
        return ControlHttpClient.from_server_address(self.engine, False, self.ca, interceptors=names)

    def node(self, key: ec.EllipticCurvePrivateKey, *, straight: bool = False) -> FleetHttpClient:
        """A client that signs as a node; `straight` goes past the gateway, as only this machine can."""
        signer = NodeAuthHttpInterceptor(key, key.public_key())
        steps = [RuntimeVersionHttpInterceptor(component_name="SuperNode"), signer]
        address = self.engine if straight else self.web
        return FleetHttpClient.from_server_address(
            address, not straight, self.ca if straight else None, interceptors=steps
        )


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("engine")
    manage("setup", CONSTELLATION_HOME=str(folder))
    with started(folder / "log", "superlink", "web", CONSTELLATION_HOME=str(folder)) as at:
        ca = (folder / "keys" / "ca.pem").read_bytes()
        yield Outside(f"127.0.0.1:{at.web}", f"127.0.0.1:{at.engine}", ca, str(folder))


def status_of(call: Callable[[], object]) -> int:
    """The status of an answer that must not be a success."""
    with pytest.raises(httpx.HTTPStatusError) as caught:
        call()
    return caught.value.response.status_code


def routes_of(router: Any) -> Iterator[tuple[str, str]]:
    """Every (method, path), also of routers that FastAPI keeps whole inside another one."""
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner)
        else:
            yield from ((method, route.path) for method in route.methods)


def engine_routes() -> set[tuple[str, str]]:
    app = create_app()
    found = set(routes_of(app))
    documented = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    assert documented <= found
    return found


def test_every_route_that_the_gateway_forwards_exists_in_the_engine() -> None:
    assert {("POST", path) for path in ROUTES} <= engine_routes()


def test_every_other_route_of_the_engine_is_unknown_outside(outside: Outside) -> None:
    closed = {(method, path) for method, path in engine_routes() if path not in ROUTES}
    assert len(closed) > 60
    assert {"/v1/fleet/register-node", "/v1/control/start-run", "/v1/runtime/acquire-task"} <= {
        path for _, path in closed
    }
    found = {path: outside.post(path, method) for method, path in closed}
    assert set(found.values()) == {404}, found


@pytest.mark.parametrize(
    "path",
    [
        "/docs",
        "/openapi.json",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/..%2fcontrol/start-run",
        "/v1/fleet/pull-messages/",
        "/v1/fleet/pull-messages/../register-node",
        "/v1//control/start-run",
        "//v1/control/start-run",
        "/V1/control/start-run",
    ],
)
def test_detours_lead_nowhere(outside: Outside, path: str) -> None:
    assert outside.post(path) == 404


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_forwarded_routes_take_post_only_and_no_stranger(outside: Outside, path: str) -> None:
    assert outside.post(path, "GET") == 404
    assert outside.post(path) == 401


def test_an_unregistered_key_can_neither_register_nor_activate_nor_pull(outside: Outside) -> None:
    key, public = generate_key_pairs()
    register = RegisterNodeFleetRequest(public_key=public_key_to_bytes(public))
    with outside.node(key, straight=True) as client:
        assert status_of(lambda: client.RegisterNode(register)) == 412
    with outside.node(key) as client:
        assert status_of(lambda: client.RegisterNode(register)) == 404
        activate = ActivateNodeRequest(public_key=public_key_to_bytes(public), heartbeat_interval=30.0)
        assert status_of(lambda: client.ActivateNode(activate)) == 401
        beat = SendNodeHeartbeatRequest(node=Node(node_id=1), heartbeat_interval=30.0)
        assert status_of(lambda: client.SendNodeHeartbeat(beat)) == 401
        assert status_of(lambda: client.PullMessages(PullMessagesRequest(node=Node(node_id=1)))) == 401


def test_an_approved_devices_key_comes_through_and_speaks_for_no_other_node(outside: Outside) -> None:
    key, public = generate_key_pairs()
    with outside.control() as control:
        mine = control.RegisterNode(RegisterNodeRequest(public_key=public_key_to_bytes(public), name="mine"))
    with outside.node(key) as client:
        request = ActivateNodeRequest(public_key=public_key_to_bytes(public), heartbeat_interval=30.0)
        assert status_of(lambda: client.ActivateNode(request)) == 401
        outside.approve(public_key_to_bytes(public), mine.node_id)
        assert client.ActivateNode(request).node_id == mine.node_id
        pull = client.PullMessages(PullMessagesRequest(node=Node(node_id=mine.node_id)))
        assert not pull.messages_list
        other = PullMessagesRequest(node=Node(node_id=mine.node_id + 1))
        assert status_of(lambda: client.PullMessages(other)) == 401


def test_nobody_takes_a_task_without_the_secret(outside: Outside) -> None:
    url = f"https://{outside.engine}/v1/runtime/acquire-task"
    with httpx.Client(verify=ssl.create_default_context(cadata=outside.ca.decode())) as http:
        assert http.post(url, content=b"", headers=PROTOBUF).status_code in (401, 403)


def test_the_engine_lists_no_run_that_nobody_started(outside: Outside) -> None:
    with outside.control() as control:
        assert not control.ListRuns(ListRunsRequest()).run_dict
