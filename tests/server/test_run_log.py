import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fl_server.flower import run_log


@pytest.fixture(autouse=True)
def _root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.LOGS_DIR = tmp_path
    return tmp_path


def test_each_run_has_a_log_of_its_own(folder: Path) -> None:
    for run in (7, 8):
        run_log.begin(run)
        logging.getLogger("test").error("run %s speaks", run)
    assert (folder / "serverapp-7.log").read_text() == "run 7 speaks\n"
    assert (folder / "serverapp-8.log").read_text() == "run 8 speaks\n"


def test_the_form_of_the_lines_stays(folder: Path) -> None:
    before = logging.NullHandler()
    before.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logging.getLogger().addHandler(before)
    run_log.begin(7)
    logging.getLogger("test").error("x")
    assert (folder / "serverapp-7.log").read_text() == "ERROR x\n"


def test_only_logs_that_were_written_to_lately_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "KEPT", 2)
    for run, written in ((8, 300), (9, 100), (10, 200)):
        path = folder / f"serverapp-{run}.log"
        path.touch()
        os.utime(path, (written, written))
    run_log.begin(11)
    assert sorted(path.name for path in folder.iterdir()) == ["serverapp-11.log", "serverapp-8.log"]
