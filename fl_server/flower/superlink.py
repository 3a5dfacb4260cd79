"""Flower's SuperLink with the objects of messages in memory, and without middleware that does nothing.

Stock, `--database` puts each chunk of each model into SQLite, reads it from there and deletes it again, which
costs most of a large round. An object lives for seconds. What a crash loses is sent again by our grid, while
registered nodes, runs and tasks survive it on the disk.

Stock, every request passes nine middlewares, each of which hands its body on block by block. Six of them do
nothing for the requests of devices and ServerApps: four act for the Control API alone, two write logs and
traces that are not switched on here.

Runs without Django: `python -m fl_server.flower.superlink` with the options of `flower-superlink`.
"""

import sys
from collections.abc import Callable
from typing import Any

from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.routers.runtime.tracing import RuntimeTracingMiddleware
from flwr.superlink import config_loader
from flwr.superlink import main as app
from flwr.superlink.cli.flower_superlink import flower_superlink
from flwr.superlink.routers.control import middlewares as control
from flwr.superlink.routers.fleet.middlewares import FleetEventLogMiddleware
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

CONTROL = "/v1/control/"
FOR_CONTROL = frozenset(
    {
        control.ControlSensitiveResponseMiddleware,
        control.ControlAuthenticationMiddleware,
        control.ControlLicenseMiddleware,
        control.ControlEventLogMiddleware,
    }
)
SWITCHED_OFF = frozenset({RuntimeTracingMiddleware, FleetEventLogMiddleware})


class OnControlOnly:
    """A middleware that other requests than those of the Control API go around."""

    def __init__(self, app: ASGIApp, make: Callable[[ASGIApp], ASGIApp]) -> None:
        self._within = make(app)
        self._around = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_other = scope["type"] == "http" and not scope["path"].startswith(CONTROL)
        await (self._around if is_other else self._within)(scope, receive, send)


def objects_in_memory(_: str) -> ObjectStoreFactory:
    return ObjectStoreFactory()


def slimmed(stock: list[Middleware]) -> list[Middleware]:
    """The same in the same order: those of the Control API bound to it, those that do nothing left out."""
    return [_bound(each) for each in stock if each.cls not in SWITCHED_OFF]


def _bound(middleware: Middleware) -> Middleware:
    make: Any = middleware.cls
    return Middleware(OnControlOnly, make=make) if make in FOR_CONTROL else middleware


def main() -> None:
    config_loader.ObjectStoreFactory = objects_in_memory
    middleware = slimmed(app._get_middleware())
    app._get_middleware = lambda: middleware
    sys.argv[0] = "flower-superlink"
    flower_superlink()


if __name__ == "__main__":
    main()
