"""Every private thing of Flower 1.41.0 that is used: an upgrade that moves one fails here, by its name."""

import asyncio
import inspect
from importlib import import_module
from importlib.metadata import version

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink import config_loader
from flwr.superlink.federation import NoOpFederationManager
from flwr.supernode.fleet_http_client import FleetHttpClient

from constellation_web.gateway import ROUTES
from fl_server.flower import engine, superexec, superlink

CLIENT = (
    "flwr.app.message.remove_content_from_message",
    "flwr.common.constant.TIMESTAMP_HEADER",
    "flwr.common.serde.message_from_proto",
    "flwr.common.serde.message_to_proto",
    "flwr.supercore.constant.FLEET_HTTP_PUBLIC_KEY_HEADER",
    "flwr.supercore.constant.FLEET_HTTP_SIGNATURE_HEADER",
    "flwr.supercore.inflatable.inflatable_object.get_all_nested_objects",
    "flwr.supercore.inflatable.inflatable_object.no_object_id_recompute",
    "flwr.supercore.inflatable.inflatable_utils.ObjectPullError",
    "flwr.supercore.inflatable.inflatable_utils.ObjectPushError",
    "flwr.supercore.primitives.asymmetric.sign_message",
    "flwr.supernode.fleet_http_client.FleetHttpClient",
)


def test_the_pinned_version_is_installed():
    assert version("flwr") == "1.41.0"


@pytest.mark.parametrize("path", CLIENT)
def test_what_the_client_uses_is_there(path):
    module, name = path.rsplit(".", 1)
    assert hasattr(import_module(module), name)


@pytest.mark.parametrize("name", engine.__all__)
def test_what_the_server_uses_is_there(name):
    assert hasattr(engine, name)


def test_pulls_are_quickened_through_their_defaults(monkeypatch):
    pull = inflatable_utils.pull_objects
    monkeypatch.setattr(pull, "__kwdefaults__", dict(pull.__kwdefaults__))
    engine.quicken_pulls()
    defaults = {name: p.default for name, p in inspect.signature(pull).parameters.items()}
    assert (defaults["initial_backoff"], defaults["max_time"]) == (0.02, engine.PULL_SECONDS)


def test_the_gateways_routes_are_those_of_the_client():
    source = inspect.getsource(FleetHttpClient)
    assert all(f'path="{route}"' in source for route in ROUTES)


def test_a_messages_time_and_life_can_be_set(monkeypatch):
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    message = Message(RecordDict({"fit": ConfigRecord({"a": 1})}), 7, "train")
    message.metadata.__dict__.update(_created_at=5.0, _ttl=6.0, _message_id="m")
    assert (message.metadata.created_at, message.metadata.ttl, message.metadata.message_id) == (5.0, 6.0, "m")


def test_the_clients_own_http_client_is_where_the_tests_replace_it():
    client = engine.ControlHttpClient("https://engine")
    assert isinstance(client._client, httpx.Client)
    client.close()


def test_the_superlink_keeps_objects_in_memory_and_the_rest_in_its_database(monkeypatch, tmp_path):
    monkeypatch.setattr(config_loader, "ObjectStoreFactory", superlink.objects_in_memory)
    database = str(tmp_path / "state.sqlite3")
    objects, state = config_loader.get_objectstore_linkstate_factories(database, NoOpFederationManager())
    assert isinstance(objects.store(), InMemoryObjectStore)
    assert state.database == database
    assert state.objectstore_factory is objects


def test_requests_of_the_control_api_pass_all_that_they_pass_in_stock():
    stock = [each.cls for each in superlink.app._get_middleware()]
    kept = superlink.slimmed(superlink.app._get_middleware())
    passed = [each.kwargs["make"] if each.cls is superlink.OnControlOnly else each.cls for each in kept]
    assert passed == [cls for cls in stock if cls not in superlink.SWITCHED_OFF]
    assert set(stock) > superlink.FOR_CONTROL | superlink.SWITCHED_OFF


@pytest.mark.parametrize(
    ("path", "within"),
    [("/v1/control/start-run", True), ("/v1/fleet/pull-object", False), ("/v1/runtime/get-nodes", False)],
)
def test_only_requests_of_the_control_api_pass_its_middleware(path, within):
    passed = []

    def note(name):
        async def app(scope, receive, send):
            passed.append(name)

        return app

    chosen = superlink.OnControlOnly(note("around"), lambda app: note("within"))
    asyncio.run(chosen({"type": "http", "path": path}, None, None))
    assert passed == ["within" if within else "around"]


def test_the_superexecs_parts_are_where_the_launcher_replaces_them():
    stock = superexec.run_superexec
    assert {"get_executor", "AutoExecPlugin"} <= set(vars(stock))
    assert superexec.flower_superexec.__globals__["run_superexec"].__globals__ is vars(stock)
    assert "executor.reconcile()" in inspect.getsource(stock.run_superexec)
