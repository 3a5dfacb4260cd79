from pathlib import Path

import psutil

from fl_client.senses import programs


def test_names_are_as_rules_write_them():
    assert programs.names(["Zoom.exe", "OBS64.EXE", "steam", "", "steam"]) == {"zoom", "obs64", "steam"}


def test_this_program_is_among_those_that_run():
    own = Path(psutil.Process().name()).name.lower()
    assert own in programs.read()


def test_a_program_that_has_just_ended_has_no_name():
    ended = psutil.Process()
    ended._proc = psutil._psplatform.Process(2**22 + 1)
    assert programs._name(ended) == ""
