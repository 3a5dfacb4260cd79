import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    # Under `make test` these would make it a part of the outer make.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")
    }
    command = ["make", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_make_alone_says_what_there_is() -> None:
    shown = make()
    assert shown.returncode == 0, shown.stderr
    names = [line.split()[1] for line in shown.stdout.splitlines()]
    assert names == ["help", "demo", "up", "test", "faults", "lint", "bench", "client", "clean"]
    assert make("help").stdout == shown.stdout


def test_an_unsupported_python_is_one_sentence(tmp_path: Path) -> None:
    refused = make("demo", f"VENV={tmp_path / 'venv'}", "PYTHON=false")
    assert refused.returncode == 2
    assert refused.stdout == "Constellation needs Python 3.11 or 3.12; false is another.\n"


def test_a_python_without_venv_is_one_sentence_however_often(tmp_path: Path) -> None:
    python, venv = tmp_path / "python3", tmp_path / "venv"
    python.write_text(
        f"#!/bin/sh\n[ $1 = -c ] && exit 0\nmkdir -p {venv}/bin; touch {venv}/bin/python; echo long; exit 1\n"
    )
    python.chmod(0o755)
    for _ in range(2):
        refused = make("demo", f"VENV={venv}", f"PYTHON={python}")
        assert refused.returncode == 2
        assert refused.stdout == (
            f"{python} cannot make a virtual environment; "
            "on Debian and Ubuntu the package python3-venv is missing.\n"
        )
        assert not venv.exists()


@pytest.mark.parametrize("switch", ["", "1"])
def test_once_is_passed_on_to_the_demo(switch: str) -> None:
    shown = make("--dry-run", "demo", f"ONCE={switch}")
    assert ("manage.py demo --once" in shown.stdout) == bool(switch)
