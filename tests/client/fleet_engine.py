"""The engine's side of the node link, inside the HTTP transport, so that every fault can be had."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeResponse,
    DeactivateNodeRequest,
    DeactivateNodeResponse,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.task_identity import TaskIdentity

from fl_client.fleet import FleetLink

NODE = 77


class Engine:
    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.faults: dict[str, list[Callable[[httpx.Request], httpx.Response]]] = {}
        self.known = True
        self.waiting: list[Message] = []
        self.objects: dict[str, bytes] = {}
        self.slow: dict[str, int] = {}
        self.confirmed: list[str] = []
        self.replies: dict[str, Message] = {}
        self.stored: dict[str, bytes] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        name = request.url.path.removeprefix("/v1/fleet/")
        if self.faults.get(name):
            return self.faults[name].pop(0)(request)
        answer = getattr(self, name.replace("-", "_"))(request.content)
        return httpx.Response(200, content=answer.SerializeToString())

    def names(self) -> list[str]:
        return [request.url.path.removeprefix("/v1/fleet/") for request in self.requests]

    def send(self, content: RecordDict) -> Message:
        message = Message(content, NODE, "train", ttl=600.0, group_id="3")
        with no_object_id_recompute():
            message.metadata.__dict__["_message_id"] = message.object_id
            self.objects |= {key: part.deflate() for key, part in get_all_nested_objects(message).items()}
        self.waiting.append(message)
        return message

    def send_node_heartbeat(self, _: bytes) -> Any:
        return SendNodeHeartbeatResponse(success=self.known)

    def activate_node(self, _: bytes) -> Any:
        return ActivateNodeResponse(node_id=NODE)

    def deactivate_node(self, body: bytes) -> Any:
        assert DeactivateNodeRequest.FromString(body).node_id == NODE
        return DeactivateNodeResponse()

    def pull_messages(self, _: bytes) -> Any:
        if not self.waiting:
            return PullMessagesResponse()
        message = self.waiting.pop(0)
        with no_object_id_recompute():
            return PullMessagesResponse(
                messages_list=[message_to_proto(remove_content_from_message(message))],
                message_object_trees=[get_object_tree(message)],
            )

    def pull_object(self, body: bytes) -> Any:
        wanted = PullObjectRequest.FromString(body).object_id
        if self.slow.get(wanted, 0):
            self.slow[wanted] -= 1
            return PullObjectResponse(object_found=True, object_available=False)
        content = self.objects.get(wanted, b"")
        return PullObjectResponse(object_found=bool(content), object_available=True, object_content=content)

    def confirm_message_received(self, body: bytes) -> Any:
        self.confirmed.append(ConfirmMessageReceivedRequest.FromString(body).message_object_id)
        return ConfirmMessageReceivedResponse()

    def push_messages(self, body: bytes) -> Any:
        """As the engine does it: one answer to a message, and the same one again is welcome."""
        request = PushMessagesRequest.FromString(body)
        reply = message_from_proto(request.messages_list[0])
        known = self.replies.setdefault(reply.metadata.reply_to_message_id, reply)
        if known.metadata.message_id != reply.metadata.message_id:
            return PushMessagesResponse()
        parts = [part.object_id for part in iterate_object_tree(request.message_object_trees[0])]
        return PushMessagesResponse(
            objects_to_push=[part for part in parts if part not in self.stored], session_id="s"
        )

    def push_object(self, body: bytes) -> Any:
        request = PushObjectRequest.FromString(body)
        assert request.session_id == "s"
        self.stored[request.object_id] = request.object_content
        return PushObjectResponse(stored=True)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    # Flower builds messages only inside a run.
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    return Engine()


def link_to(engine: Engine, **options: Any) -> FleetLink:
    key = ec.generate_private_key(ec.SECP256R1())
    link = FleetLink("127.0.0.1:9", key, NODE, ca=None, **options)
    link._client._client = httpx.Client(transport=httpx.MockTransport(engine))
    return link


def refusing(status: int) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, text="no")


def breaking(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("connection reset", request=request)


def foreign(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>Welcome to our hotel</html>")
