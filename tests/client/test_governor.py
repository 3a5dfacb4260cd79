import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fl_client import clock, governor, owner
from fl_client import home as files
from fl_client.governor import Governor
from fl_client.home import Home
from fl_client.lending import Lent
from fl_client.policy.facts import Facts, Session
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules

QUIET = Facts(
    session=Session.NONE, on_ac=True, cores=8, ram_total_bytes=16 << 30, ram_available_bytes=12 << 30
)
BERLIN = ZoneInfo("Europe/Berlin")


class Machine:
    def __init__(self, facts=QUIET):
        self.facts = facts

    def read(self):
        return self.facts

    def gpus(self):
        return ()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def made(home, machine):
    return Governor(home, list, reader=machine, now=lambda: datetime(2026, 11, 24, 15, 0, tzinfo=BERLIN))


def test_before_the_first_look_nothing_is_allowed(made):
    assert not made.decision.allowed


def test_before_the_company_has_spoken_the_usual_strict_rules_hold(made, machine):
    assert made.above == COMPANY_DEFAULTS
    machine.facts = replace(QUIET, on_ac=False, battery_percent=90)
    assert not made.look().allowed


def test_what_the_company_said_is_kept_for_the_next_start(made, home, machine):
    made.told({"company": {"on_battery": True}, "group": {"nice": 5}})
    assert Governor(home, list, reader=machine).above == Rules(on_battery=True, nice=5)


def test_the_owner_can_only_make_it_stricter(made, home):
    made.told({"company": {"hours": {"tue": ["18:00-24:00"]}}, "group": {}})
    owner.save_rules(home, Rules(hours={"tue": ("00:00-24:00",)}))
    assert [reason.code for reason in made.look().reasons] == ["outside-hours"]
    made.told({"company": {}, "group": {}})
    assert made.look().allowed


def test_a_pause_holds_at_the_next_look_and_ends_by_itself(made, home):
    made.told({"company": {}, "group": {}})
    owner.set_pause(home, datetime(2026, 11, 24, 14, 30, tzinfo=UTC))
    assert made.look().until == datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
    owner.set_pause(home, datetime(2026, 11, 24, 13, 59, tzinfo=UTC))
    assert made.look().allowed


@pytest.mark.parametrize("policy", [{"company": {"moon": 1}}, {"company": {"nice": 77}}, {"group": {"x": 1}}])
def test_rules_that_are_not_understood_stop_training(made, policy):
    made.told(policy)
    decision = made.look()
    assert not decision.allowed
    assert "more than this client understands" in decision.reason


def test_a_damaged_file_of_the_policy_is_not_taken_for_freedom(home, machine):
    home.write(files.POLICY, b"{")
    assert Governor(home, list, reader=machine).above == COMPANY_DEFAULTS


def test_the_platform_learns_codes_and_no_names_of_programs(made, home, machine):
    made.told({"company": {"exclusive_programs": ["zoom"]}, "group": {}})
    machine.facts = replace(QUIET, programs=frozenset({"zoom"}))
    told = governor.as_message(made.look())
    assert told["codes"] == ["program-running"]
    assert "zoom" not in json.dumps(told).lower()


def test_a_decision_is_told_whole(made):
    made.told({"company": {"hours": {"tue": ["18:00-24:00"]}}, "group": {}})
    told = governor.as_message(made.look())
    assert (told["allowed"], told["may_start"], told["codes"]) == (False, False, ["outside-hours"])
    assert datetime.fromisoformat(told["until"]) == datetime(2026, 11, 24, 18, 0, tzinfo=BERLIN)


def test_a_worker_gets_the_cores_that_the_rules_leave_and_no_gpu_where_there_is_none(made, monkeypatch):
    monkeypatch.setenv("CONSTELLATION_THREADS", "6")
    made.told({"company": {"cores_share_idle": 50, "nice": 12, "ram_share_idle": 25}, "group": {}})
    lent = Lent.by(made.look().resources)
    assert (lent.threads, lent.nice, lent.ram_bytes) == (4, 12, 4 << 30)


@pytest.mark.parametrize(
    ("rules", "gpus"),
    [({}, None), ({"gpu": "always"}, None), ({"gpu": "never"}, ()), ({"gpu_allow": [0]}, ())],
)
def test_a_gpu_that_no_driver_numbers_is_used_where_the_rules_allow_any(made, rules, gpus):
    made.told({"company": rules, "group": {}})
    assert Lent.by(made.look().resources).gpus == gpus


def test_a_worker_without_a_gpu_trains_on_the_processor():
    assert Lent(2, gpus=()).variables()["CONSTELLATION_DEVICE"] == "cpu"
    assert "CONSTELLATION_DEVICE" not in Lent(2).variables()


def test_a_worker_is_told_its_gpus_by_the_drivers_numbers():
    told = Lent(2, gpus=(1, 3), gpu_free_bytes=5).variables()
    assert told["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert told["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert told["CONSTELLATION_GPU_FREE_BYTES"] == "5"


def test_the_clock_knows_daylight_saving(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert clock.now().tzinfo == BERLIN
    assert clock.now() - datetime.now(UTC) < timedelta(seconds=5)
