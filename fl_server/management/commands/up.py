import argparse
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from fl_server.platform import stack, stopping
from fl_server.platform.errors import PlatformError


class Command(BaseCommand):
    help = "Run the whole platform on this machine until Ctrl-C."
    requires_system_checks = ["constellation"]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--verbose", action="store_true", help="show what every process writes")

    def handle(self, *args: Any, verbose: bool, **options: Any) -> None:
        platform = stack.Stack(stopping.on_signals(), echo=sys.stdout if verbose else None)
        try:
            platform.run(lambda _: print(f"Constellation is ready at {settings.PUBLIC_URL}", flush=True))
        except PlatformError as exc:
            stack.die(exc)
