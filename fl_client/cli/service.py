"""install-service, uninstall-service."""

import argparse
import platform
from types import ModuleType

from fl_client.home import Home
from fl_client.link_errors import BadInput
from fl_client.service import launchd, order, systemd, windows

SYSTEMS: dict[str, ModuleType] = {"Linux": systemd, "Darwin": launchd, "Windows": windows}


def install(options: argparse.Namespace, home: Home) -> str:
    plan = _system().install(order.order(home))
    if options.dry_run:
        return order.described(plan)
    home.enrolled()
    order.install(plan)
    return "\n".join(["The agent runs, and starts with this computer.", *plan.hints])


def uninstall(options: argparse.Namespace, home: Home) -> str:
    plan = _system().uninstall(order.order(home))
    if options.dry_run:
        return order.described(plan, removes=True)
    order.uninstall(plan)
    return "The agent no longer starts with this computer. The machine stays enrolled: constellation leave"


def _system() -> ModuleType:
    name = platform.system()
    if name not in SYSTEMS:
        raise BadInput(f"On {name} there is no service to install; start it with: constellation run")
    return SYSTEMS[name]
