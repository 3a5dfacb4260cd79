from collections.abc import Iterator

import pytest

from tests.client.senses import buses


@pytest.fixture(scope="package")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a private bus."""
    with buses.bus_at(tmp_path_factory.mktemp("bus") / "socket") as address:
        yield address
