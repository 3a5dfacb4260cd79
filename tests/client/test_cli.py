import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import psutil
import pytest

from fl_client import __version__, owner
from fl_client.home import Home, State
from fl_client.policy.rules import Rules
from fl_server.models import Device
from fl_server.services import devices, policies
from tests.client.platform import Platform, command, finished, free_port, platform
from tests.waiting import until

__all__ = ["platform"]
pytestmark = [pytest.mark.services]
AGENT_MB = 80


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def enrolled(platform: Platform, home: Path) -> Path:
    # A machine that is busy with tests may train all the same.
    policies.set_company(platform.admin, {})
    code, said = finished(command(home, "enrol", platform.code(), "--name", "desk"))
    assert code == 0, said
    return home


@pytest.fixture
def agent(enrolled: Path) -> Iterator["subprocess.Popen[str]"]:
    process = command(enrolled, "run")
    until(lambda: Device.objects.get().presence == "idle", "the agent connected")
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_enrol_says_what_to_do_next(platform: Platform, home: Path) -> None:
    code, said = finished(command(home, "enrol", platform.code(approves=False), "--name", "desk"))
    assert code == 0
    assert said.startswith(f"Enrolled as 'desk' with {platform.url}. An admin has to approve it")
    device = Device.objects.get()
    assert device.status == "pending"
    assert f"the code {device.short_code}." in said


def test_a_roll_out_brings_rules_and_may_run_again(platform: Platform, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "constellation.json"
    code = platform.code(max_uses=2, labels={"room": "lab"})
    file.write_text(json.dumps({"code": code, "name": "lab-7", "policy": {"gpu": "never"}}))
    for _ in range(2):
        found, said = finished(command(home, "enrol", "--file", str(file), "--yes"))
        assert (found, "Enrolled" in said) == (0, True), said
        owner.save_rules(Home(home), Rules(gpu="never", idle_minutes=60))
    device = Device.objects.get()
    assert (device.name, device.labels) == ("lab-7", {"room": "lab"})
    assert owner.saved_rules(Home(home)) == Rules(gpu="never", idle_minutes=60)
    assert finished(command(home, "enrol", code))[0] == 2


def test_joining_again_after_a_revocation_loosens_nothing(platform: Platform, enrolled: Path) -> None:
    owner.save_rules(Home(enrolled), Rules(gpu="never"))
    Home(enrolled).update(status="revoked")
    assert finished(command(enrolled, "enrol", platform.code(), "--name", "desk"))[0] == 0
    assert owner.saved_rules(Home(enrolled)) == Rules(gpu="never")


def test_a_service_ends_well_where_starting_again_would_not_help(home: Path) -> None:
    assert finished(command(home, "run", "--as-service"))[0] == 0
    assert finished(command(home, "run"))[0] == 5


def test_status_of_an_enrolled_machine(enrolled: Path) -> None:
    code, said = finished(command(enrolled, "status"))
    assert code == 0
    assert "approved, offline" in said
    assert "otto" in said


def test_the_agent_stops_cleanly_on_sigterm_and_sigint(enrolled: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process = command(enrolled, "run")
        until(lambda: Device.objects.get().presence == "idle", "the agent connected")
        process.send_signal(number)
        code, said = finished(process, 10)
        assert (code, "Traceback" in said) == (0, False), said
        until(lambda: Device.objects.get().presence == "offline", "the device is offline")


def test_an_idle_agent_is_small_and_quiet(agent: "subprocess.Popen[str]") -> None:
    process = psutil.Process(agent.pid)
    time.sleep(1)
    before, started = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(3)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - started)
    assert process.memory_info().rss / 1e6 < AGENT_MB
    assert share < 0.03, "one percent is the aim; the process clock ticks in hundredths of a second"
    assert not any("torch" in region.path for region in process.memory_maps())


def test_a_second_agent_on_the_same_folder_is_refused(agent: "subprocess.Popen[str]", enrolled: Path) -> None:
    code, said = finished(command(enrolled, "run"))
    assert code == 8
    assert "already runs" in said


def test_a_revoked_agent_exits_with_6_and_so_does_the_next(
    agent: "subprocess.Popen[str]", enrolled: Path, platform: Platform
) -> None:
    devices.revoke(Device.objects.get(), platform.admin, "sold")
    code, said = finished(agent, 10)
    assert (code, "desk was revoked: sold" in said) == (6, True), said
    for again in ("run", "status"):
        code, said = finished(command(enrolled, again))
        assert (code, "sold" in said) == (6, True), said


def test_pause_and_resume_reach_the_platform_through_a_running_agent(
    agent: "subprocess.Popen[str]", enrolled: Path
) -> None:
    assert finished(command(enrolled, "pause", "--reason", "a talk"))[0] == 0
    until(lambda: Device.objects.get().presence == "paused", "the pause arrived")
    said = finished(command(enrolled, "status"))[1]
    assert "paused:      until you resume it: a talk" in said
    assert finished(command(enrolled, "resume"))[0] == 0
    until(lambda: Device.objects.get().presence == "idle", "the machine is back")


def test_leave_tells_the_server_removes_everything_and_ends_the_agent(
    agent: "subprocess.Popen[str]", enrolled: Path
) -> None:
    code, said = finished(command(enrolled, "leave"))
    assert code == 0, said
    assert Device.objects.get().status == "revoked"
    assert finished(agent, 10)[0] == 6
    assert sorted(path.name for path in enrolled.iterdir()) == ["agent.lock"]
    assert finished(command(enrolled, "status"))[0] == 5


@pytest.mark.parametrize("arguments", [["run"], ["status"], ["leave"], ["pause"], ["resume"]])
def test_commands_of_a_machine_that_is_not_enrolled_exit_with_5(home: Path, arguments: list[str]) -> None:
    code, said = finished(command(home, *arguments))
    assert (code, said) == (5, "constellation: This machine is not enrolled; run: constellation enrol CODE\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["fly"], 2),
        (["enrol"], 2),
        (["enrol", "C1-broken"], 2),
        (["enrol", "secret"], 2),
        (["enrol", "secret", "--url", "http://train.example"], 2),
        (["enrol", "secret", "--url", "http://127.0.0.1:9", "--name", " "], 2),
        (["enrol", "secret", "--url", "http://127.0.0.1:9"], 4),
    ],
)
def test_wrong_usage_and_no_server_have_exit_codes_of_their_own(home: Path, arguments, code: int) -> None:
    found, said = finished(command(home, *arguments))
    assert found == code, said
    assert "Traceback" not in said


def test_a_code_that_the_server_refuses_exits_with_3(platform: Platform, home: Path) -> None:
    code = platform.code()
    assert finished(command(home.with_name("first"), "enrol", code))[0] == 0
    found, said = finished(command(home, "enrol", code))
    assert (found, "Ask for a new one" in said) == (3, True)


def test_leaving_without_a_server_keeps_everything_unless_forced(enrolled: Path) -> None:
    home = Home(enrolled)
    home.update(server=f"https://127.0.0.1:{free_port()}")
    code, said = finished(command(enrolled, "leave"))
    assert (code, home.state() is not None) == (4, True), said
    assert finished(command(enrolled, "leave", "--force"))[0] == 0
    assert home.state() is None


def test_an_agent_whose_server_is_down_keeps_trying(enrolled: Path) -> None:
    Home(enrolled).update(server=f"https://127.0.0.1:{free_port()}")
    process = command(enrolled, "run")
    assert process.stderr is not None
    failures = filter(lambda line: "not connected" in line, process.stderr)
    assert len(list(islice(failures, 2))) == 2
    assert process.poll() is None
    process.terminate()
    assert finished(process, 10)[0] == 0


def test_version_and_help(home: Path) -> None:
    assert finished(command(home, "version")) == (0, f"{__version__}\n")
    code, said = finished(command(home, "--help"))
    assert code == 0
    assert "Exit codes" in said


def test_the_agent_loads_neither_torch_nor_flower_nor_django() -> None:
    heavy = "{'torch', 'flwr', 'django', 'numpy'}"
    script = f"import sys, fl_client.cli, fl_client.agent; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_state_of_the_store_is_written_for_people(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.save(State("https://x", "d", "desk"))
    assert '"server": "https://x"' in (tmp_path / "state.json").read_text()
