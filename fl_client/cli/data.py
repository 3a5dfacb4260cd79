"""data add, list, remove."""

import argparse
from pathlib import Path

from fl_client import private_data
from fl_client.cli.asking import agreed
from fl_client.home import Home
from fl_client.link_errors import Declined


def add(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    data = private_data.inspect(options.name, Path(options.path), options.kind, options.label)
    print(private_data.explained(data))
    if not options.yes and not agreed("Register it?"):
        raise Declined("Nothing was registered.")
    private_data.add(home, data)
    return f"{data.name} is registered with {data.rows} rows."


def list_data(options: argparse.Namespace, home: Home) -> str:
    known = private_data.registered(home)
    if not known:
        return "No private data is registered."
    return "\n".join(f"{data.name}  {data.kind}  {data.rows} rows  {data.path}" for data in known)


def remove(options: argparse.Namespace, home: Home) -> str:
    private_data.remove(home, options.name)
    return f"{options.name} is withdrawn; its rows stay where they are."
