"""The command line: constellation enrol, run, status, pause, resume, leave, version.

Exit codes: 0 done · 1 unexpected failure · 2 wrong usage · 3 refused by the server ·
4 server not reachable · 5 not enrolled · 6 revoked · 7 the server is not the one that was
enrolled with · 8 another agent runs already.
"""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fl_client import __version__, decision, identity
from fl_client import enrol as enrolment
from fl_client import home as files
from fl_client.api import PlatformApi
from fl_client.home import Home, State
from fl_client.identity import Identity
from fl_client.link_errors import BadCode, LinkError, Revoked

EPILOG = (__doc__ or "").partition("\n\n")[2]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    home = Home.from_environment()
    command: Callable[[argparse.Namespace, Home], str] = options.command
    try:
        sentence = command(options, home)
    except LinkError as exc:
        print(f"constellation: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 0
    except OSError as exc:
        print(f"constellation: {exc}", file=sys.stderr)
        return 1
    if sentence:
        print(sentence)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="constellation",
        description="Lends this machine to the company's training cluster while it is idle.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    enrol = commands.add_parser("enrol", help="join a platform with an enrolment code")
    enrol.add_argument("code", help="the code as pasted (C1-…), or its secret alone together with --url")
    enrol.add_argument("--name", default=socket.gethostname()[:80], help="how the machine is shown to others")
    enrol.add_argument("--url", default="", help="the server's address, when the code does not carry it")
    enrol.add_argument("--ca-fingerprint", default="", metavar="SHA256", help="of the platform's authority")
    enrol.set_defaults(command=_enrol)

    run = commands.add_parser("run", help="stay connected and take part in training")
    run.add_argument("--verbose", action="store_true", help="log more")
    run.set_defaults(command=_run)

    commands.add_parser("status", help="how this machine stands").set_defaults(command=_status)

    pause = commands.add_parser("pause", help="take no work until resumed")
    pause.add_argument("--reason", default="", help="shown to the people who run the platform")
    pause.set_defaults(command=_pause)
    commands.add_parser("resume", help="take work again").set_defaults(command=_resume)

    leave = commands.add_parser("leave", help="leave the platform and remove keys and data")
    leave.add_argument("--force", action="store_true", help="even when the server cannot be told")
    leave.set_defaults(command=_leave)

    commands.add_parser("version", help="print the client's version").set_defaults(command=_version)
    return parser


def _enrol(options: argparse.Namespace, home: Home) -> str:
    name = options.name.strip()
    if not 1 <= len(name) <= 80:
        raise BadCode(f"The name has {len(name)} characters; allowed are 1 to 80.")
    invitation = enrolment.parse(options.code, options.url, options.ca_fingerprint)
    state = enrolment.enrol(invitation, name, home)
    waits = " An admin has to approve it before it gets work." if state.status == "pending" else ""
    return f"Enrolled as {state.name!r} with {state.server}.{waits} Start it with: constellation run"


def _run(options: argparse.Namespace, home: Home) -> str:
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for chatty in ("httpx", "httpcore", "websockets"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    home.enrolled()
    with home.lock():
        # Imported here: the other commands need neither asyncio's socket nor the hardware's driver.
        from fl_client.agent import Agent

        asyncio.run(Agent(home).run())
    return ""


def _status(options: argparse.Namespace, home: Home) -> str:
    state = home.enrolled()
    if state.status == "revoked":
        raise Revoked(f"{state.name} was revoked: {state.reason}", "device-revoked")
    mine = decision.decide(home)
    lines = [
        f"{state.name} with {state.server}",
        f"trains:      {'yes' if mine.allowed else f'no, {mine.reason}'}",
    ]
    with _platform(home, state) as api:
        standing = api.get("/api/v1/device/me")
    home.update(status=str(standing["status"]), node_id=str(standing["node_id"]))
    lines += [
        f"status:      {standing['status']}, {standing['presence']}",
        f"owner:       {standing['owner']}",
        f"certificate: until {str(standing['certificate_until'])[:10]}",
    ]
    return "\n".join(lines)


def _pause(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    return f"This machine is {decision.pause(home, options.reason).reason}."


def _resume(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    decision.resume(home)
    return "This machine takes work again."


def _leave(options: argparse.Namespace, home: Home) -> str:
    state = home.enrolled()
    told = "The server knows."
    try:
        if state.status != "revoked":
            home.update(status=files.LEAVING)
            with _platform(home, state) as api:
                api.post("/api/v1/device/leave")
    except Revoked:
        told = "The server had revoked it already."
    except LinkError as exc:
        if not options.force:
            home.save(state)
            hint = "Nothing was removed; --force leaves without telling the server."
            exc.args = (f"{exc} {hint}",)
            raise
        told = "The server was not told."
    home.forget()
    return f"{state.name} left {state.server}; keys and data are removed. {told}"


def _version(options: argparse.Namespace, home: Home) -> str:
    return __version__


def _platform(home: Home, state: State) -> PlatformApi:
    ca: Any = home.read(files.CA) or b""
    return PlatformApi(state.server, identity.tls(state.trust, ca.decode()), Identity.load(home))
