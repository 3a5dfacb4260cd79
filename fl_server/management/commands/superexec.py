import os
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from fl_server.platform import engine, ports

PATIENCE = 60.0  # seconds
PERIOD = 0.1


class Command(BaseCommand):
    help = "Run the SuperExec that starts one ServerApp process for each run."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ports.is_open("127.0.0.1", settings.ENGINE_PORT):
            if time.monotonic() > deadline:
                raise CommandError(
                    f"The SuperLink opened no port {settings.ENGINE_PORT} in {PATIENCE:.0f} s."
                )
            time.sleep(PERIOD)
        command = engine.superexec()
        os.execve(command[0], command, engine.superexec_environment())  # noqa: S606
