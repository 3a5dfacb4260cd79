"""The node link to the engine, open only while the device is reserved.

The one client module that imports below Flower's public surface (flwr 1.41.0, pinned exactly). Flower's own
connection helper ends the process on some errors and retries others for ever; here every call has a deadline
and every failure is a FleetError that says whether trying again can help.
"""

import logging
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self, cast

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient

from fl_client.wire import FIT

log = logging.getLogger("constellation.fleet")

HEARTBEAT_INTERVAL = 30.0  # seconds that the engine is told to expect
HEARTBEAT_EVERY = 10.0
# Objects arrive a moment after their message; Flower would wait a whole second before it looks again.
FIRST_LOOK_AGAIN = 0.02
PULL_SECONDS = 120.0


class FleetError(Exception):
    """The engine did not do what was asked. `retry` tells whether it may later."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class _Signature:
    """Signs each request with the node key and the server's time: the engine refuses clocks that are off."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, clock_offset: Callable[[], float]) -> None:
        self._key = key
        self._public = b64encode(public_key_to_bytes(key.public_key())).decode("ascii")
        self._clock_offset = clock_offset

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        now = (datetime.now(UTC) + timedelta(seconds=self._clock_offset())).isoformat()
        signature = b64encode(sign_message(self._key, now.encode("ascii"))).decode("ascii")
        context.request.headers[FLEET_HTTP_PUBLIC_KEY_HEADER] = self._public
        context.request.headers[TIMESTAMP_HEADER] = now
        context.request.headers[FLEET_HTTP_SIGNATURE_HEADER] = signature
        return call_next(context)


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as exc:
        status = exc.response.status_code
        retry = status in (408, 412, 429) or status >= 500
        raise FleetError(f"{what}: the engine answered {status}", retry=retry) from exc
    except (httpx.HTTPError, ObjectPullError, ObjectPushError) as exc:
        raise FleetError(f"{what}: {str(exc) or type(exc).__name__}", retry=True) from exc
    except ValueError as exc:
        # A network that answers by itself, as a hotel's does before one logs in, sends no protobuf.
        raise FleetError(f"{what}: the answer is not the engine's ({exc})", retry=True) from exc


def lone_record(tree: ObjectTree) -> str:
    """The id of a message's only record, which is FIT then; the objects around it cost a request each and say
    nothing new. Empty for a message of several records or none."""
    if len(tree.children) == 1 and len(tree.children[0].children) == 1:
        record = tree.children[0].children[0]
        return "" if record.children else str(record.object_id)
    return ""


class FleetLink:
    """One node's connection; a context manager. Its methods may be called from one thread at a time."""

    def __init__(
        self,
        server: str,
        key: ec.EllipticCurvePrivateKey,
        node_id: int,
        *,
        ca: bytes | None,
        clock_offset: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`server` is host:port; `ca` the PEM of the platform's CA, None for plain HTTP on loopback."""
        self._public = public_key_to_bytes(key.public_key())
        self._client = FleetHttpClient.from_server_address(
            server,
            ca is None,
            ca,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                _Signature(key, clock_offset),
            ],
        )
        self._node = Node(node_id=node_id)
        self._done = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """A heartbeat brings a known node online at once; one that never was online is activated."""
        try:
            with _mapped("open"):
                if not self._heartbeat():
                    self._activate()
        except FleetError:
            self._client.close()
            raise
        self._beats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Left for good, the node goes offline. Left with an error, it will be back for what it is sent."""
        self._done.set()
        try:
            if kind is None:
                with _mapped("close"):
                    self._client.DeactivateNode(DeactivateNodeRequest(node_id=self._node.node_id))
        except FleetError as exc:
            log.info("%s", exc)
        finally:
            self._client.close()

    def _activate(self) -> None:
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT_INTERVAL)
        self._node = Node(node_id=self._client.ActivateNode(request).node_id)

    def _heartbeat(self) -> bool:
        request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_INTERVAL)
        return bool(self._client.SendNodeHeartbeat(request).success)

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_EVERY):
            try:
                with _mapped("heartbeat"):
                    self._heartbeat()
            except (FleetError, RuntimeError) as exc:
                # Closing the link while a beat is under way fails that beat.
                if not self._done.is_set():
                    log.warning("%s", exc)

    def pull(self) -> Message | None:
        """The oldest message for this node, complete, or None."""
        with _mapped("pull"):
            response = self._client.PullMessages(PullMessagesRequest(node=self._node))
            if not response.messages_list:
                return None
            metadata = message_from_proto(response.messages_list[0]).metadata
            parts = [part.object_id for part in iterate_object_tree(response.message_object_trees[0])]
            record = lone_record(response.message_object_trees[0])
            contents = pull_objects(
                [record] if record else parts,
                make_pull_object_fn_protobuf(self._client.PullObject, self._node, metadata.run_id),
                max_time=PULL_SECONDS,
                initial_backoff=FIRST_LOOK_AGAIN,
            )
        if record:
            content = RecordDict({FIT: ConfigRecord.inflate(contents[record])})
            message = make_message(metadata=metadata, content=content)
        else:
            message = cast(Message, inflate_object_from_contents(metadata.message_id, contents))
        message.metadata.__dict__["_message_id"] = metadata.message_id
        return message

    def confirm(self, message: Message) -> None:
        """The engine may forget a message that was pulled. Its run's end makes it forget what was missed."""
        metadata = message.metadata
        confirm = make_confirm_message_received_fn_protobuf(
            self._client.ConfirmMessageReceived, self._node, metadata.run_id
        )
        try:
            with _mapped("confirm"):
                confirm(metadata.message_id)
        except FleetError as exc:
            log.info("%s", exc)

    def reply(self, to: Message, content: RecordDict, seconds: float) -> None:
        """Answer a message, with all its objects. The same answer may be given again after a failure."""
        message = Message(content, reply_to=to)
        # The engine takes one answer to a message. Without a time of its own the repetition is the same one,
        # and a clock that is off cannot make it look expired.
        message.metadata.__dict__.update(_created_at=to.metadata.created_at, _ttl=to.metadata.ttl)
        with _mapped("reply"), no_object_id_recompute():
            message.metadata.__dict__["_message_id"] = message.object_id
            response = self._client.PushMessages(
                PushMessagesRequest(
                    node=self._node,
                    messages_list=[message_to_proto(remove_content_from_message(message))],
                    message_object_trees=[get_object_tree(message)],
                    clientapp_runtime_list=[seconds],
                )
            )
            push_objects(
                get_all_nested_objects(message),
                make_push_object_fn_protobuf(
                    self._client.PushObject, self._node, message.metadata.run_id, response.session_id
                ),
                object_ids_to_push=set(response.objects_to_push),
            )
