"""The sample that tells the platform how the machine is."""

from pathlib import Path

from fl_client import telemetry
from fl_client.home import Home
from fl_client.policy.facts import Facts
from fl_server import samples
from fl_server.device_messages import Telemetry
from tests.server.machines import TELEMETRY


def test_the_platform_learns_how_much_of_the_disk_is_free_and_how_large_it_is(tmp_path: Path) -> None:
    said = telemetry.sample(Home(tmp_path), Facts(), (), telemetry.Traffic())
    message = Telemetry(type="telemetry", decision=TELEMETRY["decision"], **said)
    kept = samples.numbers(message)
    assert 0 <= kept["disk_free_bytes"] <= kept["disk_total_bytes"]
    assert kept["disk_total_bytes"] > 0


def test_what_an_older_client_says_is_understood() -> None:
    assert "disk_total_bytes" not in samples.numbers(Telemetry.model_validate(TELEMETRY))
