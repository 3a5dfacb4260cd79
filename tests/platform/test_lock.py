import os
from pathlib import Path

import pytest

from fl_server.platform.errors import PlatformError
from fl_server.platform.lock import HomeLock


def test_a_second_platform_in_the_same_home_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with HomeLock(tmp_path):
        with pytest.raises(PlatformError) as caught, HomeLock(tmp_path):
            pass
        assert str(caught.value) == (
            f"Constellation already runs in {tmp_path} (process {os.getpid()}); "
            "stop it first, or set CONSTELLATION_HOME to another folder."
        )


def test_the_home_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with HomeLock(tmp_path):
            pass
