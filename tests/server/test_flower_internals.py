"""Each thing below Flower's public surface that we rely on, by name. An upgrade fails here first."""

import ast
import inspect
import io
import zipfile
from importlib import import_module
from importlib.metadata import version
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supercore.task_identity import TaskIdentity

from fl_client import fleet
from fl_server.flower import engine
from fl_server.flower.fab import MANIFEST, fab

SERVER = {
    "flwr.cli.build": ["build_fab_from_files"],
    "flwr.common.serde": ["fab_to_proto", "user_config_to_proto"],
    "flwr.proto.control_pb2": [
        "ListNodesRequest",
        "ListRunsRequest",
        "RegisterNodeRequest",
        "StartRunRequest",
        "StopRunRequest",
        "UnregisterNodeRequest",
    ],
    "flwr.supercore.control.control_http_client": ["ControlHttpClient"],
    "flwr.supercore.fab": ["Fab"],
    "flwr.supercore.inflatable.inflatable_utils": ["pull_objects"],
    "flwr.supercore.interceptors.http.runtime_version": ["RuntimeVersionHttpInterceptor"],
}
CLIENT = {
    "flwr.app.message": ["remove_content_from_message"],
    "flwr.common.constant": ["TIMESTAMP_HEADER"],
    "flwr.common.serde": ["message_from_proto", "message_to_proto"],
    "flwr.proto.fleet_pb2": [
        "ActivateNodeRequest",
        "DeactivateNodeRequest",
        "PullMessagesRequest",
        "PushMessagesRequest",
    ],
    "flwr.proto.heartbeat_pb2": ["SendNodeHeartbeatRequest"],
    "flwr.proto.node_pb2": ["Node"],
    "flwr.supercore.constant": ["FLEET_HTTP_PUBLIC_KEY_HEADER", "FLEET_HTTP_SIGNATURE_HEADER"],
    "flwr.supercore.inflatable.inflatable_object": [
        "get_all_nested_objects",
        "get_object_tree",
        "iterate_object_tree",
        "no_object_id_recompute",
    ],
    "flwr.supercore.inflatable.inflatable_protobuf_utils": [
        "make_confirm_message_received_fn_protobuf",
        "make_pull_object_fn_protobuf",
        "make_push_object_fn_protobuf",
    ],
    "flwr.supercore.inflatable.inflatable_utils": [
        "ObjectPullError",
        "ObjectPushError",
        "inflate_object_from_contents",
        "pull_objects",
        "push_objects",
    ],
    "flwr.supercore.interceptors.http.runtime_version": ["RuntimeVersionHttpInterceptor"],
    "flwr.supercore.primitives.asymmetric": ["public_key_to_bytes", "sign_message"],
    "flwr.supercore.protobuf.client": ["ProtobufCall", "ProtobufRequestContext"],
    "flwr.supernode.fleet_http_client": ["FleetHttpClient"],
}


def table(names: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(module, name) for module, listed in names.items() for name in listed]


def imported_by(module: Any) -> set[tuple[str, str]]:
    """The private names in a module's source, as (module, name)."""
    nodes = [
        node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)
    ]
    return {
        (str(node.module), alias.name)
        for node in nodes
        if str(node.module).startswith("flwr.") and node.module not in ("flwr.app", "flwr.serverapp")
        for alias in node.names
    }


@pytest.fixture
def inside_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower builds messages only inside a run."""
    for name, value in (("_run_id", 1), ("_node_id", 0), ("_task_id", 1)):
        monkeypatch.setattr(TaskIdentity, name, value)


def test_flower_is_the_version_that_was_measured() -> None:
    assert version("flwr") == "1.41.0"


@pytest.mark.parametrize(("module", "name"), sorted({*table(SERVER), *table(CLIENT)}))
def test_the_private_name_is_there(module: str, name: str) -> None:
    assert hasattr(import_module(module), name)


def test_the_lists_above_are_complete() -> None:
    assert imported_by(engine) == set(table(SERVER))
    assert imported_by(fleet) == set(table(CLIENT))


def test_the_control_client_offers_what_the_server_calls() -> None:
    client = import_module("flwr.supercore.control.control_http_client").ControlHttpClient
    for call in ("RegisterNode", "UnregisterNode", "ListNodes", "StartRun", "StopRun", "ListRuns"):
        assert callable(getattr(client, call))
    parameters = inspect.signature(client.from_server_address).parameters
    assert len(parameters) >= 4
    assert "interceptors" in parameters


def test_the_fleet_client_offers_what_a_device_calls() -> None:
    client = import_module("flwr.supernode.fleet_http_client").FleetHttpClient
    calls = (
        "ActivateNode",
        "DeactivateNode",
        "SendNodeHeartbeat",
        "PullMessages",
        "PushMessages",
        "PullObject",
    )
    for call in (*calls, "PushObject", "ConfirmMessageReceived", "close"):
        assert callable(getattr(client, call))


def test_pulls_are_quickened_through_keyword_defaults() -> None:
    before = dict(pull_objects.__kwdefaults__)
    try:
        engine.quicken_pulls()
        assert pull_objects.__kwdefaults__.keys() == before.keys(), "a new name would change nothing"
        assert pull_objects.__kwdefaults__["initial_backoff"] == 0.02
    finally:
        pull_objects.__kwdefaults__.update(before)
    assert before["initial_backoff"] == 1


def test_the_grid_of_a_server_app_pulls_through_the_function_that_is_quickened() -> None:
    assert import_module("flwr.superlink.grid.http_grid").pull_objects is pull_objects


@pytest.mark.usefixtures("inside_a_run")
def test_a_message_keeps_the_id_that_it_is_given() -> None:
    message = Message(RecordDict({"fit": ConfigRecord({"a": 1})}), dst_node_id=5, message_type="train")
    message.metadata.__dict__["_message_id"] = "named"
    assert message.metadata.message_id == "named"
    assert message.object_id


def test_the_bundle_carries_a_manifest_and_no_code() -> None:
    bundle = fab()
    names = zipfile.ZipFile(io.BytesIO(bundle.content)).namelist()
    assert "pyproject.toml" in names
    assert not [name for name in names if name.endswith(".py")]
    assert 'serverapp = "fl_server.flower.serverapp:app"' in MANIFEST
    assert fab() is bundle
