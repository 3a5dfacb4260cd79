"""macOS: an agent of the user's launchd."""

import os
import plistlib
from pathlib import Path

from fl_client.service.order import Order, Plan, Step
from fl_client.service.restart import END_SECONDS, EVEN_SECONDS

LABEL = "org.constellation.client"


def agent(order: Order) -> str:
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(order.command),
            "RunAtLoad": True,
            # Started again after a failure only: as a service the client ends well where that would not help.
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": EVEN_SECONDS,
            "ExitTimeOut": END_SECONDS,
            "ProcessType": "Background",
            "Nice": 5,
            "Umask": 0o077,
        },
        sort_keys=False,
    ).decode()


def install(order: Order) -> Plan:
    start = Step(("launchctl", "bootstrap", _domain(), str(_path())))
    return Plan(_path(), agent(order), before=(_stop(),), after=(start,))


def uninstall(order: Order) -> Plan:
    return Plan(_path(), "", before=(_stop(),))


def _stop() -> Step:
    return Step(("launchctl", "bootout", f"{_domain()}/{LABEL}"), may_fail=True)


def _domain() -> str:
    # os.getuid exists wherever launchd does; the module loads everywhere.
    return f"gui/{getattr(os, 'getuid', lambda: 0)()}"


def _path() -> Path:
    return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
