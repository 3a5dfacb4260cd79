"""The ASGI application: the gateway for the fleet, sockets for devices and browsers, Django for the rest."""

import asyncio
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "constellation_web.settings")

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path

django_application = get_asgi_application()

from constellation_web.gateway import FLEET_PREFIX, gateway_from_settings  # noqa: E402  needs configured settings
from fl_server.consumers import DeviceConsumer, LiveConsumer  # noqa: E402
from fl_server.services.keeper import Keeper  # noqa: E402

gateway = gateway_from_settings()


async def http(scope, receive, send):
    chosen = gateway if scope["path"].startswith(FLEET_PREFIX) else django_application
    await chosen(scope, receive, send)


# Devices prove who they are with a signature and send no Origin; browsers send a cookie and must be at home.
browser_sockets = AllowedHostsOriginValidator(
    AuthMiddlewareStack(URLRouter([path("ws/live/<str:topic>/", LiveConsumer.as_asgi())]))
)
device_sockets = URLRouter([path("ws/device/", DeviceConsumer.as_asgi())])


async def websocket(scope, receive, send):
    chosen = device_sockets if scope["path"] == "/ws/device/" else browser_sockets
    await chosen(scope, receive, send)


async def lifespan(scope, receive, send):
    keeper = Keeper()
    keeper.start()
    try:
        await gateway(scope, receive, send)
    finally:
        # The last sockets are closed by now; what their devices said is written before the process ends.
        await asyncio.to_thread(keeper.stop)


application = ProtocolTypeRouter({"http": http, "websocket": websocket, "lifespan": lifespan})
