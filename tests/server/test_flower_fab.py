import io
import tomllib
import zipfile
from importlib import import_module

from fl_server.flower import engine
from fl_server.flower.fab import fab


def names() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(fab().content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_bundle_carries_a_manifest_and_no_code():
    assert [name for name in names() if name.endswith((".py", ".so", ".whl"))] == []
    assert "pyproject.toml" in names()


def test_what_the_bundle_names_is_installed():
    components = tomllib.loads(names()["pyproject.toml"].decode())["tool"]["flwr"]["app"]["components"]
    module, attribute = components["clientapp"].split(":")
    assert hasattr(import_module(module), attribute)
    assert components["serverapp"] == "fl_server.flower.serverapp:app"


def test_our_keys_may_be_overridden_because_they_exist():
    config = tomllib.loads(names()["pyproject.toml"].decode())["tool"]["flwr"]["app"]["config"]
    assert config == {"run": 0, "fence": 0}


def test_the_bundle_is_the_same_every_time():
    fresh = fab.__wrapped__()
    assert (fresh.hash_str, fresh.content) == (fab().hash_str, fab().content)
    assert isinstance(fresh, engine.Fab)
