"""The command line of an employee's machine: constellation COMMAND.

Exit codes: 0 done · 1 unexpected failure, or the doctor found something · 2 wrong usage ·
3 refused by the server · 4 server not reachable · 5 not enrolled · 6 revoked ·
7 the server is not the one that was enrolled with · 8 another agent runs already ·
9 no agent runs · 10 you were asked and said no.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fl_client.cli import parser
from fl_client.home import Home
from fl_client.link_errors import LinkError

EPILOG = (__doc__ or "").partition("\n\n")[2]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser.build(EPILOG).parse_args(arguments)
    home = Home(Path(options.home).expanduser()) if options.home else Home.from_environment()
    try:
        sentence = _command(options.command)(options, home)
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


def _command(path: str) -> Callable[[argparse.Namespace, Home], str]:
    """Loaded when it is called: most commands need neither the network nor cryptography."""
    module, name = path.split(":")
    command: Callable[[argparse.Namespace, Home], str] = getattr(importlib.import_module(module), name)
    return command
