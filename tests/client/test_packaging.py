"""The employees' package: what its recipe says must fit what is there."""

import tomllib
from pathlib import Path

from fl_client import cli

ROOT = Path(__file__).resolve().parents[2]
RECIPE = tomllib.loads((ROOT / "packaging/client/pyproject.toml").read_text())


def test_the_command_is_the_command_lines_main() -> None:
    assert RECIPE["project"]["scripts"] == {"constellation": "fl_client.cli:main"}
    assert callable(cli.main)


def test_every_file_that_is_no_module_travels_with_the_package() -> None:
    patterns = RECIPE["tool"]["setuptools"]["package-data"]["*"]
    packages = [path.parent for path in (ROOT / "fl_client").rglob("__init__.py")]
    taken = {path for package in packages for pattern in patterns for path in package.glob(pattern)}
    others = {
        path
        for path in (ROOT / "fl_client").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert others
    assert others <= taken


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "fl_client").rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_the_client_needs_nothing_of_the_server() -> None:
    lines = (ROOT / "requirements-client.txt").read_text().lower().splitlines()
    needed = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    assert "torch" in needed
    assert not needed & {"django", "celery", "redis", "channels", "psycopg", "aiohttp"}
