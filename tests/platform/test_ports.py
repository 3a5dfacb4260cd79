import socket
from collections.abc import Iterator

import pytest

from fl_server.platform import ports, stack
from fl_server.platform.errors import PlatformError


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_busy_port_is_one_sentence_with_the_variable_that_changes_it(busy: int, settings) -> None:
    settings.BIND_HOST, settings.BIND_PORT = "127.0.0.1", busy
    settings.ENGINE_PORT = ports.free()
    with pytest.raises(PlatformError) as caught:
        stack.check_ports()
    assert str(caught.value) == (
        f"Port {busy} on 127.0.0.1 is used by another program; set CONSTELLATION_BIND to another, "
        f"for example CONSTELLATION_BIND=127.0.0.1:{busy + 1}."
    )


def test_a_busy_engine_port_names_its_own_variable(busy: int, settings) -> None:
    settings.BIND_HOST, settings.BIND_PORT = "127.0.0.1", ports.free()
    settings.ENGINE_PORT = busy
    with pytest.raises(PlatformError, match="CONSTELLATION_ENGINE_PORT"):
        stack.check_ports()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(PlatformError, match="is not an address of this machine"):
        ports.claimable("192.0.2.1", 8000, "CONSTELLATION_BIND", "127.0.0.1:8000")


def test_an_open_port_is_seen(busy: int) -> None:
    assert ports.is_open("127.0.0.1", busy)
    assert not ports.is_open("127.0.0.1", ports.free())
