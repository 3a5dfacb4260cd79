import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fl_server.flower import run_log


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    made = logging.Logger("root of a process")
    yield made
    for handler in made.handlers:
        handler.close()


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.LOGS_DIR = tmp_path
    return tmp_path


def test_each_run_has_a_log_of_its_own(folder: Path, root: logging.Logger) -> None:
    for run in (7, 8):
        run_log.begin(run, root)
        root.error("run %s speaks", run)
    assert (folder / "serverapp-7.log").read_text() == "run 7 speaks\n"
    assert (folder / "serverapp-8.log").read_text() == "run 8 speaks\n"


def test_the_form_of_the_lines_stays(folder: Path, root: logging.Logger) -> None:
    before = logging.NullHandler()
    before.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root.addHandler(before)
    run_log.begin(7, root)
    root.error("x")
    assert (folder / "serverapp-7.log").read_text() == "ERROR x\n"


def test_only_logs_that_were_written_to_lately_are_kept(
    folder: Path, root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "KEPT", 2)
    for run, written in ((8, 300), (9, 100), (10, 200)):
        path = folder / f"serverapp-{run}.log"
        path.touch()
        os.utime(path, (written, written))
    run_log.begin(11, root)
    assert sorted(path.name for path in folder.iterdir()) == ["serverapp-11.log", "serverapp-8.log"]
