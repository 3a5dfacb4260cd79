"""The Control API in our own words. Whatever goes wrong there becomes EngineUnavailable or Conflict here."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from fl_server.exceptions import Conflict, EngineUnavailable
from fl_server.flower import engine
from fl_server.flower.fab import fab

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How the engine says that a node or a run is not there, or has ended already.
NOT_THERE = frozenset({404, 412})


class NotThere(Conflict):
    """The node or run is unknown to the engine, or has ended."""


def _call(method: Callable[[Any], T], request: Any) -> T:
    try:
        return method(request)
    except httpx.HTTPStatusError as exc:
        status, text = exc.response.status_code, exc.response.text[:300]
        if status >= 500:
            raise EngineUnavailable(f"The training engine answered with the error {status}.") from exc
        if status in NOT_THERE:
            raise NotThere(f"The engine refused: {text}", code="engine-refused") from exc
        raise Conflict(f"The engine refused: {text}", code="engine-refused") from exc
    except httpx.TransportError as exc:
        logger.info("the engine does not answer: %s", str(exc) or type(exc).__name__)
        raise EngineUnavailable("The training engine does not answer.") from exc


def register_node(public_key: str, name: str) -> str:
    """Let the node with this key (PEM) connect; returns its id. Registering it twice gives the same id."""
    client = engine.control_client()
    request = engine.RegisterNodeRequest(public_key=public_key.encode(), name=name)
    try:
        return str(_call(client.RegisterNode, request).node_id)
    except Conflict:
        known = _node_with(public_key)
        if known is None:
            raise
        return known


def _node_with(public_key: str) -> str | None:
    """The engine lists nodes that were shut out too, and never lets their keys in again."""
    nodes = _call(engine.control_client().ListNodes, engine.ListNodesRequest()).nodes_info
    for node in nodes:
        if node.public_key.decode().strip() == public_key.strip():
            return None if node.status == engine.NodeStatus.UNREGISTERED else str(node.node_id)
    return None


def unregister_node(node_id: str) -> None:
    """Shut the node out for good; one that is already out is fine."""
    _forgiving(engine.control_client().UnregisterNode, engine.UnregisterNodeRequest(node_id=int(node_id)))


def start_run(run_id: int, fence: int) -> int:
    """Start a ServerApp for our run; returns Flower's run id."""
    request = engine.StartRunRequest(
        fab=engine.fab_to_proto(fab()),
        override_config=engine.user_config_to_proto({"run": run_id, "fence": fence}),
    )
    return int(_call(engine.control_client().StartRun, request).run_id)


def has_ended(engine_run_id: str) -> bool:
    """Whether the engine has finished the run, or forgotten it."""
    run_id = int(engine_run_id)
    try:
        found = _call(engine.control_client().ListRuns, engine.ListRunsRequest(run_id=run_id)).run_dict
    except NotThere:
        return True
    return run_id not in found or found[run_id].status.status == engine.RunStatus.FINISHED


def stop_run(engine_run_id: str) -> None:
    """End a run in the engine and drop its messages; one that has ended is fine."""
    _forgiving(engine.control_client().StopRun, engine.StopRunRequest(run_id=int(engine_run_id)))


def _forgiving(method: Callable[[Any], Any], request: Any) -> None:
    try:
        _call(method, request)
    except NotThere:
        return
