"""Every import below Flower's public surface that the server uses; test_flower_internals.py names them.

Flower 1.41.0 is pinned exactly: an upgrade that moves one of these fails here and nowhere else.
"""

from functools import cache

from django.conf import settings
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor

from fl_server import pki

__all__ = [
    "Fab",
    "ListNodesRequest",
    "ListRunsRequest",
    "NodeStatus",
    "RegisterNodeRequest",
    "StartRunRequest",
    "StopRunRequest",
    "UnregisterNodeRequest",
    "build_fab_from_files",
    "control_client",
    "fab_to_proto",
    "quicken_pulls",
    "user_config_to_proto",
]


PULL_SECONDS = 10.0


@cache
def control_client() -> ControlHttpClient:
    """The Control API of the SuperLink on the loopback address."""
    return ControlHttpClient.from_server_address(
        settings.ENGINE_ADDRESS,
        False,
        pki.ca_pem().encode(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="constellation")],
    )


def quicken_pulls() -> None:
    """Look for an object that has not arrived yet after 20 ms, not after a second, and not for minutes.

    A reply becomes visible before its objects are there, and HttpGrid leaves the defaults untouched: a device
    that dies while it uploads would hold up its round until the engine gives the upload up, after 180 s.
    """
    pull_objects.__kwdefaults__.update(initial_backoff=0.02, backoff_cap=0.5, max_time=PULL_SECONDS)
