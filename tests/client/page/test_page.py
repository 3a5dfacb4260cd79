import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from django.contrib.staticfiles import finders

from fl_client import leaving, owner, private_data
from fl_client.home import Home
from fl_client.journal import Entry, Journal
from fl_client.link_errors import NotRunning, Unreachable
from fl_client.page import ask, site, tickets
from fl_client.page.site import STATIC
from fl_client.policy.rules import Rules
from tests.client.page.world import at_work, browser, enrolled, served

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return enrolled(tmp_path / "home")


@pytest.fixture
def page(home: Home) -> Iterator[httpx.Client]:
    with served(home) as url, browser(home, url) as client:
        yield client


def test_it_says_what_runs_for_whom_and_how_far(page: httpx.Client) -> None:
    text = page.get("/").text
    assert "Training “Chest &lt;X&gt;-rays”" in text
    assert "For Rosa Lind: cnn, round 12 of 40, batch 37 of 61." in text
    assert '<progress max="61" value="37"' in text
    assert "Trains when nobody has used this machine for 15 minutes" in text


def test_nothing_in_it_runs_or_styles_inline(page: httpx.Client) -> None:
    for path in ("/", "/leave"):
        text = page.get(path).text
        assert not re.search(r"<style|<script(?! [^>]*src=)|\son\w+=|\sstyle=", text)


@pytest.mark.parametrize(("time", "until"), [("1h", True), ("today", True), ("", False)])
def test_pausing_and_resuming(page: httpx.Client, home: Home, time: str, until: bool) -> None:
    answer = page.post("/pause", data={"time": time, "text": "a talk"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?said=paused")
    pause = owner.pause(home)
    assert pause is not None
    assert (pause.until is not None, pause.text) == (until, "a talk")
    now = page.get("/now").text
    assert "Not training" in now
    assert "You paused it" in now
    page.post("/resume")
    assert owner.pause(home) is None


def test_a_pause_that_makes_no_sense_is_told_on_the_page(page: httpx.Client, home: Home) -> None:
    answer = page.post("/pause", data={"time": "soon"})
    assert (answer.status_code, "is no time" in answer.text) == (400, True)
    assert owner.pause(home) is None


def test_rules_are_saved_previewed_and_forgotten(page: httpx.Client, home: Home) -> None:
    said = page.post("/rules/preview", data={"idle_minutes": "45"}).json()
    assert said["sentence"].startswith("Trains when nobody has used this machine for 45 minutes")
    assert owner.saved_rules(home) == Rules()
    page.post("/rules", data={"idle_minutes": "45", "gpu": "never", "hours": "mon: 18:00-20:00"})
    assert owner.saved_rules(home) == Rules(idle_minutes=45, gpu="never", hours={"mon": ("18:00-20:00",)})
    assert 'value="45"' in page.get("/").text
    page.post("/rules/reset")
    assert owner.saved_rules(home) == Rules()


def test_a_rule_that_cannot_be_read_is_told_and_nothing_changes(page: httpx.Client, home: Home) -> None:
    assert "is no day" in page.post("/rules/preview", data={"hours": "nightly 1-2"}).json()["fault"]
    answer = page.post("/rules", data={"hours": "nightly 1-2"})
    assert (answer.status_code, owner.saved_rules(home)) == (400, Rules())


def test_a_damaged_file_of_the_owners_is_shown_and_mended_on_the_page(page: httpx.Client, home: Home) -> None:
    home.write("rules.json", b"{")
    assert "rules.json is damaged" in page.get("/now").text
    assert page.post("/rules", data={"idle_minutes": "45"}).status_code == 400
    page.post("/rules/reset")
    assert "Training" in page.get("/now").text


def test_history_contribution_and_energy(page: httpx.Client, home: Home) -> None:
    assert "Nothing yet" in page.get("/").text
    entry = Entry(7, 3, "Night & day", "Rosa", datetime.now(UTC), 3900.0, 12345, True, 1500.0, 4.0)
    Journal(home).add(entry)
    text = page.get("/").text
    assert all(
        word in text for word in ("Night &amp; day", "1 h 05 min", "12 345", "1.5 kWh", "in part", "4 s lost")
    )
    Journal(home).add(Entry(7, 4, "Night & day", "Rosa", datetime.now(UTC), 60.0, 1))
    assert "this machine cannot measure all of it" in page.get("/").text


def test_a_damaged_history_costs_the_history_only(page: httpx.Client, home: Home) -> None:
    home.write("journal.sqlite3", b"no database" * 100)
    answer = page.get("/")
    assert (answer.status_code, "cannot be used" in answer.text) == (200, True)


def test_private_data_is_listed_and_withdrawn(page: httpx.Client, home: Home, tmp_path: Path) -> None:
    (tmp_path / "ward.csv").write_text("age\n41\n")
    private_data.add(home, private_data.inspect("ward-3", tmp_path / "ward.csv", "csv"))
    assert "ward.csv" in page.get("/").text
    assert page.post("/data/remove", data={"name": "ward-3"}).status_code == 303
    assert private_data.registered(home) == ()
    assert page.post("/data/remove", data={"name": "ward-3"}).status_code == 400


def test_leaving_asks_first_and_says_goodbye(page: httpx.Client, home: Home, monkeypatch) -> None:
    assert "Leave the platform?" in page.get("/leave").text
    asked = []

    def leave(home: Home, force: bool = False) -> str:
        asked.append(force)
        if not force:
            raise Unreachable("The server cannot be reached.")
        home.forget()
        return "desk left."

    monkeypatch.setattr(leaving, "leave", leave)
    answer = page.post("/leave")
    assert (answer.status_code, "Leave without telling the server" in answer.text) == (400, True)
    answer = page.post("/leave", data={"force": "yes"})
    assert (answer.status_code, "desk left." in answer.text, asked) == (200, True, [False, True])
    assert page.get("/now").status_code == 410


def test_a_form_that_is_too_large_is_refused(page: httpx.Client) -> None:
    answer = page.post("/pause", data={"text": "x" * site.BODY_MOST})
    assert (answer.status_code, "larger than" in answer.text) == (400, True)


def test_files_are_served_by_name_alone(page: httpx.Client) -> None:
    assert page.get("/static/page.css").headers["content-type"].startswith("text/css")
    for name in ("..%2fsite.py", "nowhere.css", "%2fetc%2fpasswd"):
        assert page.get(f"/static/{name}").status_code == 404


def test_the_standing_comes_back_as_it_was(page: httpx.Client, home: Home) -> None:
    seen = ask.now(home)
    assert (seen.work, seen.above) == (at_work(home).work, at_work(home).above)
    assert seen.decision is not None
    assert seen.headline == "Training “Chest <X>-rays”"


def test_without_an_agent_the_command_line_says_so(home: Home) -> None:
    with pytest.raises(NotRunning, match="No agent runs"):
        ask.now(home)
    with served(home):
        ask.now(home)
    with pytest.raises(NotRunning, match="No agent runs"):
        ask.now(home)


def test_port_and_token_stay_unless_the_port_is_taken(home: Home) -> None:
    with served(home) as first, browser(home, first) as client:
        door = tickets.find(home)
        cookies = client.cookies
    with served(home) as second:
        assert second == first
        assert httpx.get(second, cookies=cookies, trust_env=False).status_code == 200
    assert door is not None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", door.port))
        taken.listen()
        with served(home) as third:
            assert third != first


def test_colours_and_letters_are_the_dashboards() -> None:
    shared = ROOT / "fl_client/page/look"
    names = sorted(path.name for path in shared.iterdir())
    assert names == ["base.css", "inputs.css", "logo.svg", "parts.css", "theme.js"]
    for name in names:
        assert STATIC[name] == shared / name
        assert finders.find(f"look/{name}") == str(shared / name)
