"""What to start, and what a system does to start it with the computer."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fl_client import home as files
from fl_client.home import Home

DEADLINE = 30.0  # seconds for each command of the system


@dataclass(frozen=True)
class Order:
    python: Path
    home: Path
    log: Path

    @property
    def command(self) -> tuple[str, ...]:
        return (str(self.python), "-m", "fl_client", "--home", str(self.home), "run", "--as-service")


@dataclass(frozen=True)
class Step:
    """One command of the system. `may_fail`: what it undoes may not be there."""

    command: tuple[str, ...]
    may_fail: bool = False


@dataclass(frozen=True)
class Plan:
    """A file to write or to remove, and the commands before and after."""

    path: Path
    text: str
    after: tuple[Step, ...] = ()
    before: tuple[Step, ...] = ()
    encoding: str = "utf-8"
    hints: tuple[str, ...] = ()


def order(home: Home) -> Order:
    # Not resolved: a virtual environment is known by the path of its own interpreter.
    python = Path(sys.executable or "python3").absolute()
    return Order(python, home.path.absolute(), (home.path / files.LOG).absolute())


class ServiceError(OSError):
    """The system did not do what the service needs."""


def run(steps: Sequence[Step]) -> None:
    for step in steps:
        try:
            done = subprocess.run(
                step.command, capture_output=True, text=True, errors="replace", timeout=DEADLINE, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            if step.may_fail:
                continue
            raise ServiceError(f"{' '.join(step.command)}: {exc}") from exc
        if done.returncode and not step.may_fail:
            said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            raise ServiceError(f"{' '.join(step.command)}: {said}")


def install(plan: Plan) -> None:
    run(plan.before)
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    draft = plan.path.with_name(f".{plan.path.name}.{os.getpid()}")
    draft.write_text(plan.text, encoding=plan.encoding)
    os.replace(draft, plan.path)
    run(plan.after)


def uninstall(plan: Plan) -> None:
    run(plan.before)
    plan.path.unlink(missing_ok=True)
    run(plan.after)


def described(plan: Plan, removes: bool = False) -> str:
    """The plan for a person to read; nothing is done."""
    lines = [f"would run: {' '.join(step.command)}" for step in plan.before]
    if removes:
        lines.append(f"would remove: {plan.path}")
    else:
        lines += [f"would write: {plan.path}", "", plan.text.rstrip(), ""]
    lines += [f"would run: {' '.join(step.command)}" for step in plan.after]
    return "\n".join([*lines, *plan.hints])
