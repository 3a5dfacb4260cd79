import os
from typing import Any

from django.core.management.base import BaseCommand

from fl_server.platform import engine


class Command(BaseCommand):
    help = "Run the engine's SuperLink on the loopback address."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        command = engine.superlink()
        os.execve(command[0], command, engine.superlink_environment())  # noqa: S606
