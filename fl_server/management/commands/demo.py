import argparse
from typing import Any

from django.core.management.base import BaseCommand

from fl_server.demo.story import Story
from fl_server.platform import stack, stopping
from fl_server.platform.errors import PlatformError


class Command(BaseCommand):
    help = "Start the platform with three devices, train one model on them, and keep serving until Ctrl-C."
    requires_system_checks = ["constellation"]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="exit when the job is done; 0 if it succeeded"
        )

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        stop = stopping.on_signals()
        story = Story(stop, once=once)
        try:
            stack.Stack(stop).run(story.begin)
        except PlatformError as exc:
            stack.die(exc)
        raise SystemExit(story.status)
