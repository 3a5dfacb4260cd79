import os
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from fl_server.platform import redis
from fl_server.platform.errors import PlatformError


class Command(BaseCommand):
    help = "Run the private Redis, or wait where REDIS_URL names another."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.REDIS_URL:
            self.stdout.write("REDIS_URL is set: that Redis is used, and none is started here.")
            while True:
                signal.pause()
        try:
            command = redis.command()
        except PlatformError as exc:
            raise CommandError(str(exc)) from exc
        os.execv(command[0], command)  # noqa: S606
