"""The server imports the policy, too: it asks nothing of the machine that it runs on."""

import ast
from pathlib import Path

import pytest

from fl_client import policy

MODULES = sorted(Path(policy.__file__).parent.glob("*.py"))
PLAIN = {
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "fl_client",
    "itertools",
    "pydantic",
    "re",
    "typing",
}
CLOCKS = {"now", "utcnow", "today", "localtime"}


def imported(tree: ast.Module) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_policy_needs_nothing_but_its_arguments(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = imported(tree)
    assert {name.split(".")[0] for name in names} <= PLAIN
    assert all(name.startswith("fl_client.policy") for name in names if name.startswith("fl_client"))
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not {each.attr for each in called if isinstance(each, ast.Attribute)} & CLOCKS
    assert not {each.id for each in called if isinstance(each, ast.Name)} & {"open", "print", "input"}


def test_every_module_is_looked_at():
    assert {"decide", "rules", "layers", "words"} <= {path.stem for path in MODULES}
