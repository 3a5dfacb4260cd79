import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fl_client import enrol, owner
from fl_client import home as files
from fl_client.agent import Agent
from fl_client.backoff import Backoff
from fl_client.governor import Governor
from fl_client.home import Home
from fl_client.link_errors import Revoked
from fl_client.policy.facts import Facts
from fl_client.policy.facts import Session as Sitting
from fl_client.policy.rules import Rules
from fl_server import events, pki
from fl_server import roles as server_roles
from fl_server.models import Device, Reservation, Run
from fl_server.services import devices, runs
from tests.client.platform import Platform, platform
from tests.server.world import job, person
from tests.waiting import until

__all__ = ["platform"]
pytestmark = [pytest.mark.services]


class Recorder:
    """Stands for the session: notes what the agent asks of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.lent: list[Any] = []
        self.is_held: bool | None = None

    def pids(self) -> list[int]:
        return []

    def lend(self, lent: Any) -> None:
        self.lent.append(lent)

    def hold(self) -> None:
        self.is_held = True

    def go_on(self) -> None:
        self.is_held = False

    def finish(self, run: int, round: int) -> None:
        self.calls.append(("finish", run, round))

    def start(self, assignment: dict[str, Any]) -> None:
        self.calls.append(("start", assignment["run"]))

    def wake(self, run: int, round: int) -> None:
        self.calls.append(("wake", run, round))

    def abandon(self, run: int, round: int) -> None:
        self.calls.append(("abandon", run, round))

    def release(self, run: int | None = None) -> None:
        self.calls.append(("release", run))

    def close(self) -> None:
        self.calls.append(("close",))


class Machine:
    """Stands for the senses: a machine as the test has it, at first quiet and with nobody at it."""

    def __init__(self) -> None:
        self.facts = Facts(
            session=Sitting.NONE, cores=4, ram_total_bytes=8 << 30, ram_available_bytes=6 << 30
        )

    def read(self) -> Facts:
        return self.facts

    def gpus(self) -> tuple[()]:
        return ()


class RunningAgent:
    """An agent in a thread of its own, as its process would run it."""

    def __init__(self, home: Home) -> None:
        self.session = Recorder()
        self.machine = Machine()
        self.outcome: BaseException | None = None
        self.started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(home,), daemon=True)
        self.thread.start()
        self.started.wait(10)

    def _run(self, home: Home) -> None:
        async def live() -> None:
            self.loop = asyncio.get_running_loop()
            self.agent = Agent(
                home,
                make_session=lambda agent: self.session,
                make_governor=lambda home, pids: Governor(home, pids, reader=self.machine),  # type: ignore[arg-type]
                telemetry_seconds=0.1,
                backoff=Backoff(0.01, 0.1),
            )
            self.started.set()
            await self.agent.run()

        try:
            asyncio.run(live())
        except BaseException as exc:
            self.outcome = exc

    def stop(self) -> None:
        """Also after a test that failed, or it would go on trying for the rest of the session."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.agent.stop)
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def home(platform: Platform, tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    enrol.enrol(enrol.parse(platform.code()), "desk", made)
    return made


@pytest.fixture
def agent(home: Home) -> Iterator[RunningAgent]:
    running = RunningAgent(home)
    yield running
    running.stop()


def presence() -> str:
    return Device.objects.get().presence.value


def presence_becomes(wanted: str) -> None:
    until(lambda: presence() == wanted, f"the device is {wanted}")


def reserved() -> Run:
    made = job(person("rosa", server_roles.RESEARCHER), "Night shift", "running")
    run = Run.objects.create(job=made, number=1, fence=1, partitions=1)
    Reservation.objects.create(run=run, device=Device.objects.get(), partition=0)
    return run


def test_a_running_agent_is_idle_and_offline_once_it_stops(agent: RunningAgent) -> None:
    presence_becomes("idle")
    until(lambda: Device.objects.get().telemetry.get("ram_free_bytes", 0) > 0, "telemetry arrived")
    agent.stop()
    presence_becomes("offline")
    assert agent.outcome is None


def test_orders_reach_the_session_in_order(agent: RunningAgent) -> None:
    presence_becomes("idle")
    device, run = Device.objects.get(), reserved()
    runs.announce(run.reservations.get())
    events.tell_device(device.pk, type="wake", run=run.pk, round=1)
    events.tell_device(device.pk, type="abandon", run=run.pk, round=1)
    events.tell_device(device.pk, type="release", run=run.pk)
    expected = [("start", run.pk), ("wake", run.pk, 1), ("abandon", run.pk, 1), ("release", run.pk)]
    until(lambda: len(agent.session.calls) >= 4, "all four orders arrived")
    assert agent.session.calls == expected
    agent.stop()
    assert agent.session.calls[-1] == ("close",)


def test_an_agent_that_comes_late_finds_its_reservation_in_the_welcome(home: Home) -> None:
    run = reserved()
    late = RunningAgent(home)
    until(lambda: late.session.calls, "the assignment arrived")
    assert late.session.calls[0] == ("start", run.pk)
    late.stop()


def test_a_pause_reaches_the_platform_with_its_reason_and_ends(agent: RunningAgent, home: Home) -> None:
    presence_becomes("idle")
    owner.set_pause(home, text="a talk")
    presence_becomes("paused")
    device = Device.objects.get()
    assert "a talk" in device.decision_reason
    owner.resume(home)
    presence_becomes("idle")


def test_an_owner_at_the_keyboard_has_the_machine_back_and_lends_it_again(
    agent: RunningAgent, home: Home
) -> None:
    presence_becomes("idle")
    runs.announce(reserved().reservations.get())
    until(lambda: agent.session.is_held is False, "the session may work")
    at_work = replace(agent.machine.facts, session=Sitting.ACTIVE, input_idle_seconds=0.0)
    agent.machine.facts = at_work
    until(lambda: agent.session.is_held, "the session is held")
    presence_becomes("paused")
    assert "using this machine" in Device.objects.get().decision_reason
    agent.machine.facts = replace(at_work, input_idle_seconds=3600.0)
    until(lambda: agent.session.is_held is False, "the session goes on")


def test_programs_and_networks_are_never_told_by_name(agent: RunningAgent, home: Home) -> None:
    presence_becomes("idle")
    owner.save_rules(home, Rules(exclusive_programs=("tax-return",)))
    agent.machine.facts = replace(agent.machine.facts, programs=frozenset({"tax-return"}))
    presence_becomes("paused")
    device = Device.objects.get()
    assert device.decision_reason == "a program runs that stops training"
    assert "Tax-return" in agent.agent.narrator.now().detail


def test_the_companys_rules_reach_the_machine_and_hold_without_a_connection(
    agent: RunningAgent, home: Home
) -> None:
    presence_becomes("idle")
    events.tell_device(
        Device.objects.get().pk, type="policy", company={"on_battery": False}, group={"nice": 19}
    )
    until(lambda: agent.agent.governor.above == Rules(on_battery=False, nice=19), "the rules are there")
    agent.stop()
    assert Governor(home, list, reader=Machine()).above == Rules(on_battery=False, nice=19)  # type: ignore[arg-type]


def test_a_policy_that_is_not_understood_keeps_the_machine_off(agent: RunningAgent) -> None:
    presence_becomes("idle")
    events.tell_device(Device.objects.get().pk, type="policy", company={"moon_phase": "full"}, group={})
    presence_becomes("paused")
    assert "more than this client understands" in Device.objects.get().decision_reason


def test_log_lines_are_sent_when_they_are_asked_for(agent: RunningAgent) -> None:
    presence_becomes("idle")
    heard = []
    agent.agent.socket.send = heard.append  # type: ignore[method-assign]
    events.tell_device(Device.objects.get().pk, type="logs", request=5, lines=3)
    until(lambda: any(each["type"] == "logs" for each in heard), "the lines were sent")
    sent = next(each for each in heard if each["type"] == "logs")
    assert sent["request"] == 5
    assert isinstance(sent["lines"], list)


def test_a_revoked_agent_ends_and_remembers_why(agent: RunningAgent, home: Home, platform: Platform) -> None:
    presence_becomes("idle")
    devices.revoke(Device.objects.get(), platform.admin, "sold")
    agent.thread.join(10)
    assert isinstance(agent.outcome, Revoked)
    assert "sold" in str(agent.outcome)
    assert home.enrolled().status == "revoked"


def test_registration_gives_the_agent_its_node(agent: RunningAgent, home: Home) -> None:
    presence_becomes("idle")
    devices.registered(Device.objects.get(), 2**64 - 1)
    until(lambda: home.enrolled().node_id == str(2**64 - 1), "the node id is stored")


def test_a_certificate_in_its_last_month_is_renewed_by_itself(
    platform: Platform, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_client.identity.RENEW_BEFORE", timedelta(days=91))
    monkeypatch.setattr(pki, "DEVICE_LIFE", timedelta(days=95))
    before = home.read(files.CERTIFICATE)
    running = RunningAgent(home)
    until(lambda: home.read(files.CERTIFICATE) != before, "the certificate was renewed")
    running.stop()
    again = RunningAgent(home)
    presence_becomes("idle")
    again.stop()


def test_messages_of_a_newer_server_and_broken_ones_are_survived(agent: RunningAgent) -> None:
    presence_becomes("idle")
    device = Device.objects.get()
    events.tell_device(device.pk, type="dance")
    events.tell_device(device.pk, type="reserve")
    run = reserved()
    runs.announce(run.reservations.get())
    until(lambda: agent.session.calls == [("start", run.pk)], "the next good message is acted on")
