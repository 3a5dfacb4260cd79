"""Every command with its arguments, and where its function is."""

import argparse
import socket
from typing import Any

Commands = Any  # argparse names the type of its sub-commands only in private


def build(epilog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="constellation",
        description="Lends this machine to the company's training cluster while it is idle.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--home", default="", metavar="FOLDER", help="keys and data; also CONSTELLATION_CLIENT_HOME"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_membership, _running, _looking, _pausing, _policy, _data, _service):
        add(commands)
    return parser


def _add(commands: Commands, name: str, help: str, command: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    added.set_defaults(command=f"fl_client.cli.{command}")
    return added


def _membership(commands: Commands) -> None:
    enrol = _add(commands, "enrol", "join a platform with an enrolment code", "membership:enrol")
    enrol.add_argument("code", nargs="?", default="", help="as pasted (C1-…), or its secret alone with --url")
    enrol.add_argument(
        "--file", default="", metavar="JSON", help="code and rules out of a file, for roll-outs"
    )
    enrol.add_argument("--name", default="", help=f"how it is shown to others (here: {_host()})")
    enrol.add_argument("--url", default="", help="the server's address, when the code does not carry it")
    enrol.add_argument("--ca-fingerprint", default="", metavar="SHA256", help="of the platform's authority")
    enrol.add_argument("--yes", action="store_true", help="done already is fine: for unattended roll-outs")

    leave = _add(commands, "leave", "leave the platform and remove keys and data", "membership:leave")
    leave.add_argument("--force", action="store_true", help="even when the server cannot be told")
    leave.add_argument("--yes", action="store_true", help="do not ask")
    _add(commands, "version", "print the client's version", "membership:version")


def _running(commands: Commands) -> None:
    run = _add(commands, "run", "stay connected and take part in training", "running:run")
    run.add_argument("--verbose", action="store_true", help="log more")
    run.add_argument(
        "--as-service", action="store_true", help="exit with 0 where starting again would not help"
    )


def _looking(commands: Commands) -> None:
    status = _add(commands, "status", "what this machine does now, and why", "status:status")
    status.add_argument("--watch", action="store_true", help="stay and follow it until Ctrl-C")
    status.add_argument("--json", action="store_true", help="for programs")
    page = _add(commands, "page", "open the owner's page in a browser", "page:page")
    page.add_argument("--print", action="store_true", help="only print its address, good once, for a minute")

    history = _add(commands, "history", "what this machine did", "history:history")
    history.add_argument(
        "--months", type=int, default=3, metavar="N", help="so many months, this one included"
    )
    history.add_argument("--csv", action="store_true", help="every round, as CSV")
    _add(commands, "doctor", "whether everything that training needs is in order", "doctor:doctor")


def _pausing(commands: Commands) -> None:
    pause = _add(commands, "pause", "take no work for a while, or until resumed", "policy:pause")
    pause.add_argument("time", nargs="?", default="", metavar="30m|1h|today", help="empty: until resumed")
    pause.add_argument("--reason", default="", help="shown to the people who run the platform")
    _add(commands, "resume", "take work again", "policy:resume")


def _policy(commands: Commands) -> None:
    policy = commands.add_parser("policy", help="when and how this machine trains")
    actions = policy.add_subparsers(required=True, metavar="show|set|unset")
    _add(actions, "show", "what holds, and who said so", "policy:show")
    change = _add(
        actions, "set", "make a rule of your own; only stricter ones have an effect", "policy:set_rules"
    )
    change.add_argument("rules", nargs="+", metavar="NAME=VALUE", help="such as idle_minutes=30 or gpu=never")
    unset = _add(actions, "unset", "take a rule of your own back", "policy:unset")
    unset.add_argument("names", nargs="*", metavar="NAME")
    unset.add_argument("--all", action="store_true", help="all of them")


def _data(commands: Commands) -> None:
    data = commands.add_parser("data", help="private data that never leaves this machine")
    actions = data.add_subparsers(required=True, metavar="add|list|remove")
    add = _add(actions, "add", "register data; you see first what the platform learns", "data:add")
    add.add_argument("name", help="how jobs call it, such as ward-3")
    add.add_argument("path", help="a folder of images, or a file")
    add.add_argument("--kind", required=True, choices=("image-folder", "csv", "parquet"))
    add.add_argument("--label", default="", metavar="COLUMN", help="the column that says the class of a row")
    add.add_argument("--yes", action="store_true", help="agree without being asked")
    _add(actions, "list", "what is registered", "data:list_data")
    _add(actions, "remove", "withdraw it; its rows stay", "data:remove").add_argument("name")


def _service(commands: Commands) -> None:
    for name, help in (
        ("install-service", "start with this computer, in the background"),
        ("uninstall-service", "no longer start with this computer"),
    ):
        command = _add(commands, name, help, f"service:{name.partition('-')[0]}")
        command.add_argument("--dry-run", action="store_true", help="only show what would be done")


def _host() -> str:
    return socket.gethostname().replace("%", "")[:80]
