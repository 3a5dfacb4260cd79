"""pause, resume, policy show, policy set, policy unset."""

import argparse
from datetime import datetime

from fl_client import owner, rule_text
from fl_client.home import Home
from fl_client.link_errors import BadInput, NotRunning
from fl_client.page import ask
from fl_client.policy import layers, words
from fl_client.policy.phrases import clock
from fl_client.policy.rules import Rules


def pause(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    now = datetime.now().astimezone()
    made = owner.set_pause(home, owner.end_of(options.time, now), options.reason)
    end = f"until {clock(made.until, now)}" if made.until else "until you resume it"
    return f"This machine is paused {end}."


def resume(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    owner.resume(home)
    return "This machine takes work again."


def show(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    mine, above = owner.saved_rules(home), _above(home)
    held = layers.combine(above or Rules(), mine)
    lines = [words.sentence(held), ""]
    rows = [("NAME", "FROM ABOVE", "YOURS", "HOLDS", "")]
    rows += [
        (
            name,
            "?" if above is None else rule_text.said(getattr(above, name)) or "-",
            rule_text.said(getattr(mine, name)) or "-",
            rule_text.said(getattr(held, name)) or "-",
            words.title(name),
        )
        for name in Rules.model_fields
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines += [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    ]
    lines += ["", *_in_vain(mine, above)]
    return "\n".join(lines).rstrip()


def set_rules(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    mine = rule_text.changed(owner.saved_rules(home), options.rules)
    return _saved(home, mine)


def unset(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    if options.all:
        # Also the cure for a file that cannot be read.
        owner.forget_rules(home)
        return "Your own rules are gone; those of the company hold."
    if not options.names:
        raise BadInput("Name the rules to take back, or say --all.")
    return _saved(home, rule_text.without(owner.saved_rules(home), options.names))


def _saved(home: Home, mine: Rules) -> str:
    owner.save_rules(home, mine)
    above = _above(home)
    held = layers.combine(above or Rules(), mine)
    return "\n".join([*_in_vain(mine, above), words.sentence(held)])


def _above(home: Home) -> Rules | None:
    """Company's and group's rules; only a running agent knows them."""
    try:
        return ask.now(home).above
    except NotRunning:
        return None


def _in_vain(mine: Rules, above: Rules | None) -> list[str]:
    if above is None:
        return ["No agent runs, so the company’s rules are not shown; the stricter rule holds in any case."]
    return layers.loosened(mine, above)
