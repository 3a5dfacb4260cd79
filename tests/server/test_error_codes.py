"""Every code that people meet on a job, a run or a device's part in a round is explained."""

import ast
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from fl_server.api.docs import error_sections

# What a function that ends something takes for its code: the place among its arguments.
PLACES = {
    "Rejected": 0,
    "_end": 2,
    "_fail": 1,
    "_settle": 3,
    "drop": 0,
    "fail": 1,
    "finish": 2,
    "on_unable": 0,
    "try_finish": 2,
}
# Seen by the owner alone, as the exit codes of the command line.
NOT_SENT = {"link_errors.py"}


def trees() -> Iterator[ast.AST]:
    for package in ("fl_server", "fl_client", "strategies"):
        for path in sorted(Path(settings.BASE_DIR, package).rglob("*.py")):
            if path.name not in NOT_SENT and "migrations" not in path.parts:
                yield ast.parse(path.read_text(), filename=str(path))


def constants(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that are codes: of an exception's class, of a keyword, of a place among arguments."""
    if isinstance(node, ast.ClassDef):
        for line in node.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                yield line.value
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OWNER_RETURNED":
        yield node.value
    if isinstance(node, ast.Call):
        yield from (keyword.value for keyword in node.keywords if keyword.arg in ("code", "reason_code"))
        name = ast.unparse(node.func).rpartition(".")[2]
        yield from node.args[PLACES[name] :][:1] if name in PLACES else ()


def codes() -> set[str]:
    return {
        value.value
        for tree in trees()
        for node in ast.walk(tree)
        for value in constants(node)
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value
    }


def test_every_code_of_a_job_a_run_or_a_device_is_explained() -> None:
    found = codes()
    assert {"too-few-replies", "non-finite", "worker-died", "owner-returned", "late", "data-missing"} < found
    assert len(found) > 60
    assert found <= {code for code, _ in error_sections()}


def test_every_explanation_says_more_than_the_code() -> None:
    short = [code for code, paragraphs in error_sections() if len(" ".join(paragraphs)) < 30]
    assert not short
