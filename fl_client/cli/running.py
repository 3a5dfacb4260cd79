"""run."""

import argparse
import asyncio
import logging

from fl_client import logs
from fl_client.home import Home
from fl_client.link_errors import LinkError
from fl_client.service.restart import HOPELESS

log = logging.getLogger("constellation")


def run(options: argparse.Namespace, home: Home) -> str:
    try:
        _stay(home, options.verbose)
    except LinkError as exc:
        # Not every service manager can be told which exits are final; all understand a success.
        if options.as_service and exc.exit_code in HOPELESS:
            log.error("%s", exc)
            return ""
        raise
    return ""


def _stay(home: Home, verbose: bool) -> None:
    home.enrolled()
    with home.lock():
        logs.install(home, verbose)
        # Imported here: what is wrong with the folder is said before the hardware's driver loads.
        from fl_client.agent import Agent

        asyncio.run(Agent(home).run())
