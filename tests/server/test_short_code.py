from pathlib import Path

import pytest

from fl_client.home import Home
from fl_client.identity import Identity, _public_pem
from fl_server import short_code


def test_the_terminal_and_the_admins_page_show_the_same_code(tmp_path: Path) -> None:
    me = Identity.load_or_create(Home(tmp_path))
    shown = short_code.of(_public_pem(me.identity_key))
    assert shown == me.short_code()
    assert len(shown) == 9
    assert set(shown.replace("-", "", 1)) <= set(short_code.LETTERS)


@pytest.mark.parametrize("pem", ["key-1", "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "é"])
def test_what_is_no_key_has_no_code(pem: str) -> None:
    assert short_code.of(pem) == ""
