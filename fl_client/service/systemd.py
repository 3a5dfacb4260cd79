"""Linux: a unit of the user's own systemd."""

import os
from pathlib import Path

from fl_client.service.order import Order, Plan, Step
from fl_client.service.restart import END_SECONDS, FIRST_SECONDS, HOPELESS, MOST_SECONDS

NAME = "constellation.service"
HINT = "It runs while you are logged in; “loginctl enable-linger” keeps it running after you log out."


def unit(order: Order) -> str:
    # An older systemd than 254 waits FIRST_SECONDS each time and ignores the two lines about steps.
    return f"""[Unit]
Description=Constellation: lends this machine to the training cluster while it is idle
StartLimitIntervalSec=0

[Service]
ExecStart={" ".join(_quoted(part) for part in order.command)}
Restart=on-failure
RestartSec={FIRST_SECONDS}
RestartSteps=6
RestartMaxDelaySec={MOST_SECONDS}
RestartPreventExitStatus={" ".join(map(str, HOPELESS))}
TimeoutStopSec={END_SECONDS}
Nice=5
NoNewPrivileges=yes
UMask=0077

[Install]
WantedBy=default.target
"""


def install(order: Order) -> Plan:
    start = (("daemon-reload",), ("enable", NAME), ("restart", NAME))
    return Plan(_path(), unit(order), after=tuple(_step(*words) for words in start), hints=(HINT,))


def uninstall(order: Order) -> Plan:
    return Plan(
        _path(),
        "",
        before=(_step("disable", "--now", NAME, may_fail=True),),
        after=(_step("daemon-reload", may_fail=True),),
    )


def _step(*words: str, may_fail: bool = False) -> Step:
    return Step(("systemctl", "--user", *words), may_fail)


def _path() -> Path:
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(configured) if configured.startswith("/") else Path.home() / ".config"
    return folder / "systemd" / "user" / NAME


def _quoted(part: str) -> str:
    """In systemd's own quoting, where % and $ have a meaning."""
    escaped = part.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
