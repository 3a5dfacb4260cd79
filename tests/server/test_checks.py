from pathlib import Path
from typing import Any

import pytest
from django.core.checks import registry

from fl_server import checks

SAFE: dict[str, Any] = {
    "REMOVE_AFTER_DAYS": 90.0,
    "WARN_BEFORE_DAYS": 14.0,
    "BIND_HOST": "127.0.0.1",
    "BIND_PORT": 8000,
    "PUBLIC_URL": "https://train.example:8443",
    "ENGINE_PORT": 8010,
    "ON_LOOPBACK": True,
    "USE_TLS": False,
    "BEHIND_PROXY": False,
    "TLS_CERTIFICATE": "",
    "TLS_KEY": "",
    "DEBUG": False,
}
OPEN = {"BIND_HOST": "0.0.0.0", "ON_LOOPBACK": False}


def found(settings: Any, **changes: Any) -> list[str]:
    for name, value in (SAFE | changes).items():
        setattr(settings, name, value)
    return [str(message.id) for check in (checks.addresses, checks.safety) for message in check()]


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({}, []),
        (OPEN, ["constellation.E001"]),
        (OPEN | {"USE_TLS": True}, []),
        (OPEN | {"BEHIND_PROXY": True}, []),
        ({"TLS_KEY": __file__}, ["constellation.E002"]),
        ({"TLS_CERTIFICATE": __file__}, ["constellation.E002"]),
        ({"TLS_CERTIFICATE": __file__, "TLS_KEY": __file__}, []),
        ({"TLS_CERTIFICATE": __file__, "TLS_KEY": "/nowhere/key.pem"}, ["constellation.E003"]),
        ({"ENGINE_PORT": 8000}, ["constellation.E004"]),
        ({"WARN_BEFORE_DAYS": 90.0}, ["constellation.E005"]),
        (OPEN | {"USE_TLS": True, "PUBLIC_URL": "https://0.0.0.0:8443"}, ["constellation.E006"]),
        (OPEN | {"USE_TLS": True, "PUBLIC_URL": "https://[::]:8443"}, ["constellation.E006"]),
        ({"DEBUG": True}, []),
        (OPEN | {"USE_TLS": True, "DEBUG": True}, ["constellation.W001"]),
        ({"BEHIND_PROXY": True, "DEBUG": True}, ["constellation.W001"]),
    ],
)
def test_settings_that_contradict_each_other_are_found(
    settings: Any, changes: dict[str, Any], ids: list[str]
) -> None:
    assert found(settings, **changes) == ids


def test_a_folder_is_no_certificate(settings: Any, tmp_path: Path) -> None:
    assert found(settings, TLS_CERTIFICATE=str(tmp_path), TLS_KEY=__file__) == ["constellation.E003"]


def test_the_checks_run_with_djangos_own() -> None:
    assert {checks.addresses, checks.safety} <= set(registry.registry.get_checks())
