"""Commands that need no server, called as `main` calls them."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fl_client import cli, doctor, owner, private_data
from fl_client.doctor import Finding, Verdict
from fl_client.home import Home
from fl_client.journal import Entry, Journal
from fl_client.page import tickets
from fl_client.policy.rules import Rules
from tests.client.page.world import enrolled, served

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return enrolled(tmp_path / "home")


@pytest.fixture
def call(home: Home, capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: str) -> tuple[int, str]:
        code = cli.main(["--home", str(home.path), *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_the_command_line_loads_fast_and_light() -> None:
    program = (
        "import sys; from fl_client.cli import parser; parser.build('');"
        "print(*({'httpx', 'cryptography', 'pydantic', 'psutil', 'starlette', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_every_command_has_its_function() -> None:
    from fl_client.cli import parser

    lines = [
        ["enrol", "x"], ["leave"], ["version"], ["run"], ["status"], ["page"], ["history"], ["doctor"],
        ["pause"], ["resume"], ["policy", "show"], ["policy", "set", "nice=1"], ["policy", "unset"],
        ["data", "add", "a", "b", "--kind", "csv"], ["data", "list"], ["data", "remove", "a"],
        ["install-service"], ["uninstall-service"],
    ]  # fmt: skip
    for line in lines:
        assert callable(cli._command(parser.build("").parse_args(line).command))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pause"], "This machine is paused until you resume it."),
        (["pause", "1h", "--reason", "a talk"], "This machine is paused until "),
        (["pause", "today"], "This machine is paused until 00:00 on "),
    ],
)
def test_pausing_says_until_when(call: Call, home: Home, arguments: list[str], says: str) -> None:
    code, said = call(*arguments)
    assert (code, says in said) == (0, True)
    assert owner.pause(home) is not None
    assert call("resume") == (0, "This machine takes work again.\n")
    assert owner.pause(home) is None


def test_a_pause_of_no_time_is_wrong_usage(call: Call, home: Home) -> None:
    assert call("pause", "soon")[0] == 2
    assert owner.pause(home) is None


def test_rules_are_set_shown_and_taken_back(call: Call, home: Home) -> None:
    code, said = call("policy", "set", "idle_minutes=30", "gpu=never")
    assert (code, "never the GPU" in said, "No agent runs" in said) == (0, True, True)
    assert owner.saved_rules(home) == Rules(idle_minutes=30, gpu="never")
    code, said = call("policy", "show")
    assert [line.split()[:4] for line in said.splitlines() if line.startswith("idle_minutes")] == [
        ["idle_minutes", "?", "30", "30"]
    ]
    assert call("policy", "unset", "gpu")[0] == 0
    assert owner.saved_rules(home) == Rules(idle_minutes=30)
    assert call("policy", "unset", "--all")[0] == 0
    assert owner.saved_rules(home) == Rules()
    assert (call("policy", "unset")[0], call("policy", "set", "speed=9")[0]) == (2, 2)


def test_a_rule_that_has_no_effect_is_told_while_the_agent_runs(call: Call, home: Home) -> None:
    with served(home):
        said = call("policy", "set", "idle_minutes=3")[1]
    assert "you say 3, the rules above you say 15; the stricter holds." in said
    assert "for 15 minutes" in said


def test_damaged_rules_are_mended_by_forgetting_them(call: Call, home: Home) -> None:
    home.write("rules.json", b"{")
    code, said = call("policy", "show")
    assert (code, "policy unset --all" in said) == (2, True)
    assert call("policy", "unset", "--all")[0] == 0
    assert call("policy", "show")[0] == 0


def test_status_of_a_running_agent_says_what_it_does(call: Call, home: Home) -> None:
    with served(home):
        code, said = call("status", "--json")
    assert (code, json.loads(said)["work"]["batch"]) == (0, 37)


def test_the_address_of_the_page_is_printed_and_needs_an_agent(call: Call, home: Home) -> None:
    assert call("page", "--print")[0] == 9
    with served(home) as url:
        code, said = call("page", "--print")
        door = tickets.find(home)
    assert door is not None
    assert (code, said.startswith(f"{url}/enter?key="), door.token in said) == (0, True, False)


def test_history_as_a_table_and_as_csv(call: Call, home: Home) -> None:
    assert "No training since" in call("history")[1]
    now = datetime.now(UTC)
    Journal(home).add(Entry(7, 1, "X-rays", "Rosa", now, 3600.0, 1000, energy_wh=120.0))
    Journal(home).add(Entry(7, 2, "X-rays", "Rosa", now, 1800.0, 500, energy_wh=60.0, partial=True))
    table = call("history", "--months", "1")[1]
    assert [line.split() for line in table.splitlines() if line.startswith("X-rays")] == [
        ["X-rays", "2", "1", "h", "30", "min", "1500", "180", "Wh", "0", "min"]
    ]
    rows = list(csv.DictReader(io.StringIO(call("history", "--csv")[1])))
    assert sorted((row["round"], row["partial"]) for row in rows) == [("1", "False"), ("2", "True")]
    assert call("history", "--months", "0")[0] == 2


def test_private_data_is_registered_only_after_a_yes(
    call: Call, home: Home, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "ward.csv").write_text("age,outcome\n41,home\n")
    line = ("data", "add", "ward-3", str(tmp_path / "ward.csv"), "--kind", "csv", "--label", "outcome")
    for answer, code in (("n", 10), ("", 10), ("yes", 0)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        found, said = call(*line)
        assert (found, "home: 1" in said) == (code, True)
        assert len(private_data.registered(home)) == (code == 0)
    assert "ward-3  csv  1 rows" in call("data", "list")[1]
    assert (call("data", "remove", "ward-3")[0], call("data", "remove", "ward-3")[0]) == (0, 2)
    assert call("data", "list")[1] == "No private data is registered.\n"
    assert (call(*line, "--yes")[0], len(private_data.registered(home))) == (0, 1)


def test_nobody_there_to_answer_is_a_no(call: Call, home: Home, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "ward.csv").write_text("age\n41\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert call("data", "add", "ward-3", str(tmp_path / "ward.csv"), "--kind", "csv")[0] == 10


@pytest.mark.parametrize("command", ["install-service", "uninstall-service"])
def test_a_dry_run_of_the_service_changes_nothing(
    call: Call, tmp_path: Path, monkeypatch, command: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    before = sorted(tmp_path.rglob("*"))
    code, said = call(command, "--dry-run")
    assert (code, "would run: " in said) == (0, True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"kode": "x"}', "and nothing else"),
        ('{"code": "C1-x", "policy": {"idle_minutes": "often"}}', "idle_minutes"),
        ('{"code": "C1-x", "policy": {"speed": 9}}', "speed"),
    ],
)
def test_a_file_of_a_roll_out_that_is_wrong_is_refused(
    call: Call, home: Home, tmp_path, content, says
) -> None:
    (tmp_path / "file.json").write_text(content)
    home.forget()
    code, said = call("enrol", "--file", str(tmp_path / "file.json"))
    assert (code, says in said) == (2, True), said
    assert call("enrol", "--file", str(tmp_path / "nowhere.json"))[0] == 2


@pytest.mark.parametrize(("bad", "code"), [(0, 0), (1, 1)])
def test_the_doctor_tells_by_its_exit_code(call: Call, monkeypatch, bad: int, code: int) -> None:
    found = [Finding("disk", Verdict.NOTE, "little"), *[Finding("torch", Verdict.BAD, "missing")] * bad]
    monkeypatch.setattr(doctor, "look", lambda home: iter(found))
    assert call("doctor")[0] == code


def test_the_doctor_looks_at_this_machine(home: Home, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(
        doctor, "TORCH", 'print(\'{"version": "2", "cuda": [], "mps": false, "threads": 4}\')'
    )
    home.forget()
    found = {finding.what: finding for finding in doctor.look(home)}
    assert found["enrolment"].verdict is Verdict.BAD
    assert {"input and session", "power supply", "GPUs", "network", "policy", "torch", "disk"} <= set(found)
    assert found["torch"].text == "2, trains on the processor, 4 threads"


def test_a_torch_that_does_not_load_is_found(home: Home, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "TORCH", "raise ImportError('libcuda is missing')")
    found = doctor._torch()
    assert (found.verdict, found.text) == (Verdict.BAD, "cannot be used: ImportError: libcuda is missing")
