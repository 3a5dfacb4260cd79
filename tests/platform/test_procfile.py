import pytest
from django.conf import settings

from fl_server.platform import procfile
from fl_server.platform.errors import PlatformError


def test_lines_become_commands_in_their_order() -> None:
    found = procfile.parse("# first\nrelease: python manage.py setup\n\nweb:  uvicorn 'a b' --port 1\n")
    assert list(found.items()) == [
        ("release", ["python", "manage.py", "setup"]),
        ("web", ["uvicorn", "a b", "--port", "1"]),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("web python", "Line 1 of the Procfile is 'web python'"),
        ("a: x\n\na: y", "Line 3 of the Procfile names a a second time"),
        ("a: 'x", "Line 1 of the Procfile cannot be read"),
    ],
)
def test_a_faulty_line_is_named(text: str, sentence: str) -> None:
    with pytest.raises(PlatformError, match=sentence):
        procfile.parse(text)


def test_our_own_procfile_names_every_process_of_the_platform() -> None:
    assert list(procfile.read(settings.BASE_DIR / "Procfile")) == [
        "release",
        "redis",
        "web",
        "worker",
        "evaluator",
        "beat",
        "superlink",
        "superexec",
    ]
