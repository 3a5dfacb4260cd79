import plistlib
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fl_client.link_errors import AlreadyRunning, BadCode, LinkError, NotEnrolled, Refused, Revoked, Untrusted
from fl_client.service import launchd, systemd, windows
from fl_client.service.order import Order, Plan, ServiceError, Step, described, install, uninstall
from fl_client.service.restart import HOPELESS

ODD = Order(Path("/opt/my env/bin/python"), Path("/home/o'tto 100%/$x"), Path("/home/otto/client.log"))
COMMAND = ["-m", "fl_client", "--home", "/home/o'tto 100%/$x", "run", "--as-service"]
# Before 254 systemd does not know two of the lines, says so and ignores them.
UNKNOWN = re.compile("Unknown key( name)? 'Restart(Steps|MaxDelaySec)'")
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def test_starting_again_cannot_help_after_these_and_no_others() -> None:
    final: list[type[LinkError]] = [BadCode, Refused, NotEnrolled, Revoked, Untrusted, AlreadyRunning]
    assert sorted(kind.exit_code for kind in final) == sorted(HOPELESS)


def test_the_systemd_unit_names_command_restarts_and_final_exits() -> None:
    lines = systemd.unit(ODD).splitlines()
    words = (
        "/opt/my env/bin/python",
        "-m",
        "fl_client",
        "--home",
        "/home/o'tto 100%%/$$x",
        "run",
        "--as-service",
    )
    assert "ExecStart=" + " ".join(f'"{word}"' for word in words) in lines
    assert "RestartPreventExitStatus=2 3 5 6 7 8" in lines
    assert {"Restart=on-failure", "RestartSec=5", "RestartMaxDelaySec=300", "StartLimitIntervalSec=0"} <= {
        *lines
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")
def test_systemd_reads_the_unit_without_a_fault(tmp_path: Path) -> None:
    unit = tmp_path / systemd.NAME
    python = Path(shutil.which("python3") or "/usr/bin/python3")
    unit.write_text(systemd.unit(Order(python, tmp_path / "my $home 100%", tmp_path / "log")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    faults = [line for line in done.stderr.splitlines() if not UNKNOWN.search(line)]
    assert (done.returncode, [line for line in faults if systemd.NAME in line]) == (0, []), done.stderr


def test_the_launchd_agent_starts_again_after_failures_only() -> None:
    agent = plistlib.loads(launchd.agent(ODD).encode())
    assert agent["ProgramArguments"] == ["/opt/my env/bin/python", *COMMAND]
    assert (agent["KeepAlive"], agent["RunAtLoad"]) == ({"SuccessfulExit": False}, True)


def test_the_windows_task_starts_at_log_on_without_a_window_and_without_an_end() -> None:
    order = Order(Path("/env/python.exe"), Path("/home/a & b"), Path("/log"))
    task = ElementTree.fromstring(windows.task(order, "OFFICE\\otto").replace("UTF-16", "UTF-8"))
    found = {node.tag.removeprefix(TASK): (node.text or "").strip() for node in task.iter()}
    assert found["Command"] == "/env/pythonw.exe"
    assert found["Arguments"] == '-m fl_client --home "/home/a & b" run --as-service'
    assert (found["UserId"], found["ExecutionTimeLimit"], found["Interval"]) == (
        "OFFICE\\otto",
        "PT0S",
        "PT1M",
    )


@pytest.mark.parametrize("system", [systemd, launchd, windows])
def test_every_plan_can_be_shown_without_doing_anything(system) -> None:
    shown = described(system.install(ODD))
    assert f"would write: {system.install(ODD).path}" in shown
    assert "--as-service" in shown
    assert "would run: " in shown
    assert "would remove: " in described(system.uninstall(ODD), removes=True)


def test_a_plan_writes_its_file_and_runs_its_commands_in_order(tmp_path: Path) -> None:
    path, trace = tmp_path / "deep" / "unit", tmp_path / "trace"
    say = [Step(("sh", "-c", f"cat {path} >> {trace} 2>/dev/null; echo {word} >> {trace}")) for word in "ab"]
    install(Plan(path, "the text\n", before=(say[0],), after=(say[1],)))
    assert trace.read_text() == "a\nthe text\nb\n"
    assert [each.name for each in path.parent.iterdir()] == ["unit"]
    uninstall(Plan(path, ""))
    uninstall(Plan(path, ""))
    assert not path.exists()


def test_a_command_that_fails_is_said_unless_it_may(tmp_path: Path) -> None:
    fails = ("sh", "-c", "echo no bus >&2; exit 3")
    with pytest.raises(ServiceError, match="no bus"):
        install(Plan(tmp_path / "unit", "", after=(Step(fails),)))
    with pytest.raises(ServiceError, match="nosuchprogram"):
        install(Plan(tmp_path / "unit", "", after=(Step(("nosuchprogram",)),)))
    allowed = (Step(fails, may_fail=True), Step(("nosuchprogram",), may_fail=True))
    install(Plan(tmp_path / "unit", "", after=allowed))
