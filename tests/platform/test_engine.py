from pathlib import Path

import pytest

from fl_server.platform import engine


@pytest.fixture
def home(settings, tmp_path: Path) -> Path:
    settings.CONSTELLATION_HOME = tmp_path
    settings.KEYS_DIR = tmp_path / "keys"
    settings.KEYS_DIR.mkdir()
    return tmp_path


def test_the_secret_is_made_once_and_for_its_owner_only(home: Path) -> None:
    first = engine.secret_file()
    secret = first.read_bytes()
    assert len(secret) == 64
    assert engine.secret_file().read_bytes() == secret
    assert first.stat().st_mode & 0o777 == 0o600
    assert list((home / "keys").iterdir()) == [first]


def test_the_superlink_listens_on_loopback_and_asks_nodes_who_they_are(home: Path) -> None:
    command = engine.superlink()
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "--enable-supernode-auth" in command
    assert "--insecure" not in command
    assert command[command.index("--isolation") + 1] == "process"


def test_a_serverapp_learns_no_secret_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SECRET_KEY", "s3cret")
    monkeypatch.setenv("SOME_TOKEN", "s3cret")
    monkeypatch.setenv("DATABASE_URL", "postgres://db/x")
    environment = engine.superexec_environment()
    assert "s3cret" not in environment.values()
    assert environment["DATABASE_URL"] == "postgres://db/x"
    assert environment["CONSTELLATION_SERVERAPP"] == "1"
    assert "DATABASE_URL" not in engine.superlink_environment()


@pytest.mark.parametrize("name", ["CONSTELLATION_LEASE_SECONDS", "CONSTELLATION_LAUNCH_SECONDS"])
def test_a_serverapp_waits_as_long_as_the_rest_of_the_platform(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "33")
    assert engine.superexec_environment()[name] == "33"
