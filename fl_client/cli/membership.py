"""enrol, leave, version."""

import argparse
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_client import __version__, leaving, owner
from fl_client import enrol as enrolment
from fl_client.cli.asking import agreed
from fl_client.home import Home
from fl_client.identity import Identity
from fl_client.link_errors import AlreadyEnrolled, BadCode, BadInput, Declined
from fl_client.policy import layers
from fl_client.policy.rules import Rules

KEYS = {"code", "url", "ca_fingerprint", "name", "policy"}


@dataclass(frozen=True)
class Order:
    code: str
    url: str
    fingerprint: str
    name: str
    rules: Rules | None = None


def enrol(options: argparse.Namespace, home: Home) -> str:
    order = _order(options)
    name = (order.name or socket.gethostname()[:80]).strip()
    if not 1 <= len(name) <= 80:
        raise BadCode(f"The name has {len(name)} characters; allowed are 1 to 80.")
    # Of an earlier life of this machine; stricter ones stay, and a damaged file stops here.
    mine = owner.saved_rules(home)
    invitation = enrolment.parse(order.code, order.url, order.fingerprint)
    try:
        state = enrolment.enrol(invitation, name, home)
    except AlreadyEnrolled:
        state = home.enrolled()
        # A roll-out runs again and again; another server is another matter.
        if not options.yes or state.server != invitation.url:
            raise
        return f"Enrolled already as {state.name!r} with {state.server}."
    if order.rules is not None:
        owner.save_rules(home, layers.combine(mine, order.rules))
    waits = ""
    if state.status == "pending":
        code = Identity.load(home).short_code()
        waits = f" An admin has to approve it before it gets work; it shows there with the code {code}."
    return f"Enrolled as {state.name!r} with {state.server}.{waits} Start it with: constellation run"


def leave(options: argparse.Namespace, home: Home) -> str:
    state = home.enrolled()
    # Asked only where somebody can answer: a script that says "leave" means it.
    if not options.yes and sys.stdin.isatty():
        print(
            f"{state.name} leaves {state.server} for good; its keys, its history and your rules are removed."
        )
        if not agreed("Leave?"):
            raise Declined("Nothing was changed.")
    return leaving.leave(home, force=options.force)


def version(options: argparse.Namespace, home: Home) -> str:
    return __version__


def _order(options: argparse.Namespace) -> Order:
    """What was typed goes before what the file says."""
    document = _document(Path(options.file)) if options.file else {}
    rules = document.get("policy")
    order = Order(
        code=options.code or str(document.get("code", "")),
        url=options.url or str(document.get("url", "")),
        fingerprint=options.ca_fingerprint or str(document.get("ca_fingerprint", "")),
        name=options.name or str(document.get("name", "")),
        rules=None if rules is None else owner.rules_of(json.dumps(rules), f"{options.file}, policy"),
    )
    if not order.code and not options.file:
        raise BadInput("Give the enrolment code, or --file with one.")
    return order


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise BadInput(f"{path} does not exist.") from exc
    except ValueError as exc:
        raise BadInput(f"{path} is not JSON: {exc}") from exc
    if not isinstance(document, dict) or not document.keys() <= KEYS:
        raise BadInput(f"{path} must be a JSON object with {', '.join(sorted(KEYS))} and nothing else.")
    return document
