from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fl_client import home as files
from fl_client import owner
from fl_client.home import Home
from fl_client.link_errors import BadInput
from fl_client.policy.decide import decide
from fl_client.policy.facts import Facts
from fl_client.policy.pause import Pause
from fl_client.policy.rules import Rules

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=BERLIN)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def allowed(home: Home, now: datetime = NOON) -> bool:
    will = owner.read(home)
    return decide(Facts(), will.rules, now, pause=will.pause).allowed


def test_without_any_file_nothing_is_paused_and_nothing_restricted(home: Home) -> None:
    assert owner.read(home) == owner.Will(None, Rules())
    assert allowed(home)


def test_a_pause_comes_back_as_it_was_said(home: Home) -> None:
    made = owner.set_pause(home, NOON + timedelta(hours=1), "  a talk ")
    assert owner.pause(home) == made == Pause(NOON + timedelta(hours=1), "a talk")
    assert (allowed(home), allowed(home, NOON + timedelta(hours=2))) == (False, True)
    owner.resume(home)
    assert owner.pause(home) is None


def test_rules_come_back_as_they_were_said(home: Home) -> None:
    mine = Rules(idle_minutes=30, hours={"mon": ("18:00-08:00",)}, gpu="never", exclusive_programs=("zoom",))
    owner.save_rules(home, mine)
    assert owner.saved_rules(home) == mine
    assert owner.read(home).rules == mine


@pytest.mark.parametrize("name", [files.PAUSE, files.RULES])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"7", b'{"until": 3, "text": ""}', b"\xff\xfe", b'{"idle_minutes": "often"}'],
)
def test_a_damaged_file_means_paused_never_allowed(home: Home, name: str, content: bytes) -> None:
    home.write(name, content)
    pause = owner.read(home).pause
    assert pause is not None
    assert pause.until is None
    assert pause.text.startswith(f"{name} is damaged; “constellation ")
    assert not allowed(home)


@pytest.mark.parametrize("name", [files.PAUSE, files.RULES])
def test_a_file_that_cannot_be_read_means_paused_and_its_path_is_not_told(home: Home, name: str) -> None:
    home.file(name).mkdir(parents=True)
    pause = owner.read(home).pause
    assert pause is not None
    assert str(home.path) not in pause.text


def test_forgetting_the_rules_cures_a_damaged_file(home: Home) -> None:
    home.write(files.RULES, b"{")
    with pytest.raises(owner.Damaged):
        owner.saved_rules(home)
    owner.forget_rules(home)
    assert allowed(home)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("", None),
        ("30m", NOON + timedelta(minutes=30)),
        (" 1H ", NOON + timedelta(hours=1)),
        ("1h30m", NOON + timedelta(minutes=90)),
        ("2d", NOON + timedelta(days=2)),
    ],
)
def test_how_long_a_pause_lasts(text: str, end: datetime | None) -> None:
    assert owner.end_of(text, NOON) == end


def test_today_ends_at_the_next_midnight_of_the_wall_clock() -> None:
    now = datetime.now().astimezone()
    end = owner.end_of("today", now)
    assert end is not None
    assert (end.hour, end.minute, end.date()) == (0, 0, now.date() + timedelta(days=1))


def test_an_hour_stays_an_hour_when_the_clock_is_put_back() -> None:
    before = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    end = owner.end_of("1h", before)
    assert end is not None
    assert end.timestamp() - before.timestamp() == 3600


@pytest.mark.parametrize("text", ["soon", "1", "h", "-1h", "0m", "31d", "1.5h", "999d", "tomorrow"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        owner.end_of(text, NOON)
