"""doctor."""

import argparse

from fl_client import doctor as examination
from fl_client.doctor import Verdict
from fl_client.home import Home
from fl_client.link_errors import Unwell


def doctor(options: argparse.Namespace, home: Home) -> str:
    """Says each thing as it is found: loading torch takes a while."""
    bad = 0
    for finding in examination.look(home):
        print(f"{finding.verdict:<5} {finding.what:<26} {finding.text}", flush=True)
        bad += finding.verdict is Verdict.BAD
    if bad:
        raise Unwell(f"{bad} of these {'keeps' if bad == 1 else 'keep'} this machine from training.")
    return "This machine can train."
