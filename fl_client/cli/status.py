"""status."""

import argparse
import json
import sys
import time
from datetime import datetime

from fl_client import leaving, owner, standing
from fl_client.home import Home
from fl_client.link_errors import LinkError, NotRunning, Refused, Revoked, Untrusted
from fl_client.page import ask
from fl_client.policy.phrases import clock
from fl_client.standing import Standing, progress

WATCH_SECONDS = 1.0


def status(options: argparse.Namespace, home: Home) -> str:
    state = home.enrolled()
    if state.status == "revoked":
        raise Revoked(f"{state.name} was revoked: {state.reason}", "device-revoked")
    if options.watch and sys.stdout.isatty():
        _watch(home)
        return ""
    seen = _now(home)
    if options.json:
        return json.dumps(seen.as_message(), indent=2)
    rows = _rows(seen, home)
    rows += _of_the_platform(home)
    return _text(seen, rows)


def _now(home: Home) -> Standing:
    try:
        return ask.now(home)
    except NotRunning:
        return standing.of_files(home)


def _rows(seen: Standing, home: Home) -> list[tuple[str, str]]:
    now = datetime.now().astimezone()
    rows = [("now", seen.headline)]
    if seen.detail:
        rows.append(("", seen.detail))
    if (pause := owner.read(home).pause) and pause.holds(now):
        until = f"until {clock(pause.until, now)}" if pause.until else "until you resume it"
        rows.append(("paused", f"{until}{f': {pause.text}' if pause.text else ''}"))
    if seen.work:
        rows.append(("job", f"“{seen.work.job}” of {seen.work.researcher}"))
        rows.append(("progress", progress(seen.work)))
    if seen.decision and seen.decision.until:
        rows.append(("not before", clock(seen.decision.until, now)))
    if seen.connection is not standing.Connection.STOPPED:
        since = f" since {clock(seen.since, now)}" if seen.since else ""
        rows.append(("connection", f"{seen.connection}{since}"))
        rows.append(("rule", seen.sentence))
    return rows


def _of_the_platform(home: Home) -> list[tuple[str, str]]:
    """What the platform says of this machine, when it answers."""
    state = home.enrolled()
    try:
        with leaving.platform(home, state) as api:
            said = api.get("/api/v1/device/me")
    except (Refused, Untrusted):
        raise
    except LinkError as exc:
        return [("platform", str(exc))]
    home.update(status=str(said["status"]), node_id=str(said["node_id"]))
    return [
        ("status", f"{said['status']}, {said['presence']}"),
        ("owner", str(said["owner"])),
        ("certificate", f"until {str(said['certificate_until'])[:10]}"),
    ]


def _text(seen: Standing, rows: list[tuple[str, str]]) -> str:
    lines = [f"{f'{name}:' if name else '':<13}{text}" for name, text in rows]
    return "\n".join([f"{seen.device} with {seen.server}", *lines])


def _watch(home: Home) -> None:
    from rich.live import Live
    from rich.panel import Panel
    from rich.table import Table

    def picture() -> Panel:
        seen = _now(home)
        table = Table.grid(padding=(0, 2))
        for name, text in _rows(seen, home):
            table.add_row(name, text)
        return Panel(table, title=seen.device, subtitle="Ctrl-C ends")

    with Live(picture(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(WATCH_SECONDS)
            live.update(picture(), refresh=True)
