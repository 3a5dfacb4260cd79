"""Imports point one way. The table says what may not import what; imports inside functions count too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("constellation_web", "fl_server", "fl_client", "strategies")

SERVER_FRAMEWORKS = ("django", "rest_framework", "channels", "celery")
EDGES = ("fl_server.api", "fl_server.views", "fl_server.consumers", "fl_server.admin", "fl_server.tasks")
ENGINE = ("fl_server.flower", "fl_server.evaluation")
PUBLIC_FLOWER = ("flwr.app", "flwr.serverapp", "flwr.clientapp")

# importer: {what it may not import: the modules below it that may all the same}
MAY_NOT_IMPORT: dict[str, dict[str, tuple[str, ...]]] = {
    "strategies": dict.fromkeys(("fl_client", "fl_server", "constellation_web", *SERVER_FRAMEWORKS), ()),
    "fl_client": {
        **dict.fromkeys(("strategies", "fl_server", "constellation_web", *SERVER_FRAMEWORKS), ()),
        "flwr": tuple(f"fl_client.{name}" for name in ("exchange", "fleet", "session", "work")),
        "torch": tuple(
            f"fl_client.{name}"
            for name in (
                *(
                    "data",
                    "devices",
                    "fit",
                    "footprint",
                    "judging",
                    "memory",
                    "models",
                    "optimisers",
                    "training",
                    "vision",
                ),
                "worker",
            )
        ),
        "fl_client.worker": (),
        "fl_client.training": ("fl_client.worker",),
    },
    "constellation_web": dict.fromkeys(("flwr", "torch", "fl_client", "strategies", *ENGINE), ()),
    "fl_server": {
        "flwr": ("fl_server.flower",),
        "torch": ("fl_server.evaluation",),
        "fl_client": (
            "fl_server.spec",
            "fl_server.api.catalogue",
            "fl_server.evaluation",
            "fl_server.rules",
            "fl_server.selectors.policies",
            "fl_server.services.policies",
        ),
        "strategies": ("fl_server.spec", "fl_server.api.catalogue", "fl_server.weight_files", *ENGINE),
        "fl_server.tasks": (),
        "fl_server.flower": ("fl_server.flower", "fl_server.tasks"),
        "fl_server.evaluation": ("fl_server.tasks",),
    },
    "fl_server.models": dict.fromkeys(("fl_server.services", "fl_server.selectors", *EDGES), ()),
    "fl_server.selectors": dict.fromkeys(("fl_server.services", *EDGES), ()),
    "fl_server.services": dict.fromkeys((*EDGES, *ENGINE), ()),
    "fl_server.placement": dict.fromkeys(
        ("django", "fl_server.models", "fl_server.selectors", "fl_server.services", *EDGES), ()
    ),
    "fl_server.flower": dict.fromkeys(EDGES, ()),
    "fl_server.evaluation": dict.fromkeys(EDGES, ()),
}
RULES = [(importer, forbidden) for importer, rules in MAY_NOT_IMPORT.items() for forbidden in rules]


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(), filename=str(path))
    return found


def named(node: ast.AST) -> Iterator[str]:
    """The modules that an import statement may load: `from a import b` is a, and perhaps a.b."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are written in full"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(module: str) -> set[str]:
    return {name for node in ast.walk(modules()[module]) for name in named(node)}


def breaches(importer: str, forbidden: str, except_in: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in modules()
        if below(module, importer) and not any(below(module, free) for free in except_in)
        for name in imports(module)
        if below(name, forbidden)
    ]


def test_the_table_speaks_of_modules_that_exist() -> None:
    ours = {name for rules in MAY_NOT_IMPORT.values() for free in rules.values() for name in free}
    unknown = [name for name in (*MAY_NOT_IMPORT, *ours) if not any(below(m, name) for m in modules())]
    assert not unknown


@pytest.mark.parametrize(("importer", "forbidden"), RULES)
def test_imports_point_one_way(importer: str, forbidden: str) -> None:
    assert not breaches(importer, forbidden, MAY_NOT_IMPORT[importer][forbidden])


def test_a_breach_would_be_seen() -> None:
    assert breaches("fl_server", "flwr")
    assert breaches("fl_server.tasks", "fl_server.evaluation"), "imports inside functions count"


def test_only_the_evaluation_uses_more_of_the_client_than_its_catalogue_and_policy() -> None:
    used = {
        name.split(".")[1]
        for module in modules()
        if below(module, "fl_server") and module != "fl_server.evaluation"
        for name in imports(module)
        if below(name, "fl_client")
    }
    assert used
    assert used <= {"catalogue", "assignment", "errors", "policy"}


def test_tasks_load_the_engine_and_torch_only_inside_functions() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    outside = [node for node in modules()["fl_server.tasks"].body if not isinstance(node, functions)]
    loaded = {name for statement in outside for node in ast.walk(statement) for name in named(node)}
    assert "fl_server.services.runs" in loaded
    assert not [name for name in loaded if any(below(name, heavy) for heavy in (*ENGINE, "flwr", "torch"))]


def test_flower_below_its_public_surface_is_imported_in_one_module_on_each_side() -> None:
    private = {
        module
        for module in modules()
        for name in imports(module)
        if below(name, "flwr") and not any(below(name, public) for public in PUBLIC_FLOWER)
    }
    # The launchers of SuperLink and SuperExec are processes of their own, without Django.
    launchers = {"fl_server.flower.superlink", "fl_server.flower.superexec"}
    assert private == {"fl_server.flower.engine", *launchers, "fl_client.fleet"}


@pytest.mark.parametrize(
    "module",
    [
        "strategies.catalog",
        "strategies.options",
        "fl_client.catalogue",
        "fl_client.assignment",
        "fl_client.cli",
    ],
)
def test_what_the_web_process_and_the_agent_load_at_start_is_light(module: str) -> None:
    program = f"import sys, {module}; print(*({{'torch', 'flwr', 'datasets', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
