"""Every import below Flower's public surface that our server uses; test_flower_internals.py names them.

Flower 1.41.0 is pinned exactly: an upgrade that moves one of these fails here. The SuperLink's own launcher,
a process without Django, has its few in `superlink.py`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import repeat
from typing import cast

import httpx
from django.conf import settings
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import ErrorCode
from flwr.common.constant import Status as RunStatus
from flwr.common.serde import fab_to_proto, message_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.run import RunNotRunningException
from flwr.superlink.grid import HttpGrid

from fl_server import pki
from strategies.wire import FIT

__all__ = [
    "BROKEN",
    "Fab",
    "ListNodesRequest",
    "ListRunsRequest",
    "NodeStatus",
    "RegisterNodeRequest",
    "RunNotRunningException",
    "RunStatus",
    "StartRunRequest",
    "StopRunRequest",
    "UnregisterNodeRequest",
    "bound_retries",
    "build_fab_from_files",
    "control_client",
    "fab_to_proto",
    "is_passing",
    "pull_replies",
    "quicken_pulls",
    "user_config_to_proto",
]


logger = logging.getLogger(__name__)

PULL_SECONDS = 10.0
# What a call of a ServerApp ends with when the engine dies under it.
BROKEN = (ObjectPushError, httpx.HTTPError)
_clean_up = ThreadPoolExecutor(1, thread_name_prefix="clean-up")


@cache
def control_client() -> ControlHttpClient:
    """The Control API of the SuperLink on the loopback address."""
    return ControlHttpClient.from_server_address(
        settings.ENGINE_ADDRESS,
        False,
        pki.ca_pem().encode(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="constellation")],
    )


def is_passing(error: Exception) -> bool:
    """Whether the same call may go through once the engine is back."""
    return not isinstance(error, httpx.HTTPStatusError) or error.response.status_code >= 500


def bound_retries(grid: HttpGrid, seconds: float, every: float) -> None:
    """HttpGrid asks an engine that is away for ever, and less and less often."""
    invoker = grid._retry_invoker
    invoker.max_time = seconds
    invoker.wait_gen_factory = lambda: repeat(every)


def pull_replies(grid: HttpGrid, message_ids: Iterable[str]) -> Iterator[Message]:
    """Like `HttpGrid.pull_messages`, with one request for the content of a small reply instead of three.

    A lone record is FIT and all there is to know. Nobody waits for the engine's clean-up after it.
    """
    client, run_id = grid._runtime_client, grid.run.run_id
    pull_object = make_pull_object_fn_protobuf(client.PullObject, grid.node, run_id)
    response = client.PullMessages(PullAppMessagesRequest(message_ids=message_ids))
    for head, tree in zip(response.messages_list, response.message_object_trees, strict=True):
        metadata = message_from_proto(head).metadata
        try:
            content = _content(tree, pull_object)
        except (ObjectPullError, httpx.HTTPError) as exc:
            # The engine shows a reply once: what it lost of it is sent again.
            error = Error(ErrorCode.MESSAGE_UNAVAILABLE, f"The reply is not complete: {exc}")
            yield make_message(metadata=metadata, error=error)
            continue
        message = make_message(metadata=metadata, content=content)
        message.metadata.__dict__["_message_id"] = metadata.message_id
        _clean_up.submit(
            client.ConfirmMessageReceived,
            ConfirmMessageReceivedRequest(
                node=grid.node, run_id=run_id, message_object_id=metadata.message_id
            ),
        )
        yield message


def _content(tree: ObjectTree, pull_object: Callable[[str], bytes]) -> RecordDict:
    """What a device sent. What cannot be read comes out empty, which no check of a reply lets pass."""
    record = _lone_record(tree)
    contents = pull_objects([record] if record else _object_ids(tree), pull_object)
    try:
        if record:
            return RecordDict({FIT: ConfigRecord.inflate(contents[record])})
        return cast(Message, inflate_object_from_contents(tree.object_id, contents)).content
    except Exception as exc:
        # Flower raises whatever its parsers do, and a device may send anything.
        logger.warning("a reply cannot be read: %s", exc)
        return RecordDict()


def _lone_record(tree: ObjectTree) -> str:
    """The id of a message's only record; empty for a message of several records or none."""
    if len(tree.children) == 1 and len(tree.children[0].children) == 1:
        record = tree.children[0].children[0]
        return "" if record.children else str(record.object_id)
    return ""


def _object_ids(tree: ObjectTree) -> list[str]:
    return [part.object_id for part in iterate_object_tree(tree)]


def quicken_pulls() -> None:
    """Look for an object that has not arrived yet after 20 ms, not after a second, and not for minutes.

    A reply becomes visible before its objects are there, and HttpGrid leaves the defaults untouched: a device
    that dies while it uploads would hold up its round until the engine gives the upload up, after 180 s.
    """
    pull_objects.__kwdefaults__.update(initial_backoff=0.02, backoff_cap=0.5, max_time=PULL_SECONDS)
