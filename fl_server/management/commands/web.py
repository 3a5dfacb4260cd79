from typing import Any

import uvicorn
from django.core.management.base import BaseCommand

from fl_server.platform import web


class Command(BaseCommand):
    help = "Serve pages, API, sockets and the gateway to the engine."
    requires_system_checks = ["constellation"]

    def handle(self, *args: Any, **options: Any) -> None:
        uvicorn.run("constellation_web.asgi:application", **web.options())
