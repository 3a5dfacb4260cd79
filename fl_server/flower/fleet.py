"""Bringing the engine in step with our rows: registered nodes, revoked nodes, ended runs."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from fl_server.exceptions import ConstellationError
from fl_server.flower import control
from fl_server.models import Device, Run
from fl_server.services import devices, runs, supervision

logger = logging.getLogger(__name__)

T = TypeVar("T", Device, Run)


def settle() -> None:
    _each(supervision.unregistered(), _register)
    _each(supervision.still_registered(), _unregister)
    _each(supervision.unstopped(), _stop)


def _each(items: Iterable[T], action: Callable[[T], None]) -> None:
    """One that fails is tried again by a later tick and holds up nobody else."""
    for item in items:
        try:
            action(item)
        except ConstellationError as exc:
            logger.warning("%s not settled with the engine: %s", item, exc)


def _register(device: Device) -> None:
    devices.registered(device, control.register_node(device.node_key, device.name))


def _unregister(device: Device) -> None:
    control.unregister_node(device.node_id)
    devices.unregistered(device)


def _stop(run: Run) -> None:
    control.stop_run(run.engine_run_id)
    runs.engine_stopped(run)
