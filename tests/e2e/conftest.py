"""One platform for all tests that can share it: starting it takes longer than most tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.platform import DESKS, Platform, running

HERE = Path(__file__).parent
# What kills parts of the platform comes after what only uses it, and what ends it at the very end.
ROUGH = ("test_faults", "test_platform_stops")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Last is what shares the platform, so that nothing else runs beside it."""
    if item.path.parent != HERE or "platform" not in getattr(item, "fixturenames", ()):
        return 0
    name = item.path.stem
    return ROUGH.index(name) + 2 if name in ROUGH else 1


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    # A short lease, so that a run whose ServerApp died is soon taken up.
    with running(tmp_path_factory.mktemp("platform"), *DESKS, CONSTELLATION_LEASE_SECONDS="6") as made:
        yield made
