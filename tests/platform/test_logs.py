import os
from pathlib import Path

from fl_server.platform.logs import LogFile


def test_only_whole_fresh_lines_are_shown(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    log.path.write_text("one\ntwo\nthr")
    assert log.fresh() == ["one", "two"]
    with log.path.open("a") as file:
        file.write("ee\n")
    assert log.fresh() == ["three"]
    assert log.fresh() == []


def test_a_log_that_grew_too_large_is_kept_once_and_emptied_under_its_writer(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    writer = log.open()
    os.write(writer, b"x" * 100)
    log.trim(largest=50)
    os.write(writer, b"y")
    os.close(writer)
    assert log.path.read_bytes() == b"y"
    assert (tmp_path / "a.log.1").read_bytes() == b"x" * 100


def test_the_tail_of_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert LogFile(tmp_path / "none.log").tail() == []
