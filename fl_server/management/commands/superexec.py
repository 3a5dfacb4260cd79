import os
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from fl_server.platform import engine, ports, stopping

PATIENCE = 60.0  # seconds
PERIOD = 0.1


class Command(BaseCommand):
    help = "Run the SuperExec that starts one ServerApp process for each run."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        stop = stopping.on_signals()
        deadline = time.monotonic() + PATIENCE
        while not ports.is_open("127.0.0.1", settings.ENGINE_PORT):
            if time.monotonic() > deadline:
                raise CommandError(
                    f"The SuperLink opened no port {settings.ENGINE_PORT} in {PATIENCE:.0f} s."
                )
            if stop.wait(PERIOD):
                return
        command, environment = engine.superexec(), engine.superexec_environment()
        if not stop.is_set():
            # From here on the signals do again what they do by default.
            os.execve(command[0], command, environment)  # noqa: S606
