from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from fl_client.home import Home
from fl_client.page import ask, tickets
from fl_client.page.guard import COOKIE_NAME
from fl_client.page.site import Site
from fl_client.page.tickets import Door, Once
from tests.client.page.world import at_work, browser, enrolled, served

ROUTES = [
    ("GET", "/"),
    ("GET", "/now"),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("POST", "/rules"),
    ("POST", "/rules/preview"),
    ("POST", "/rules/reset"),
    ("POST", "/data/remove"),
    ("GET", "/leave"),
    ("POST", "/leave"),
    ("GET", "/api/standing"),
]
OPEN = [("GET", "/enter"), ("GET", "/static/page.css")]
POSTS = [route for route in ROUTES if route[0] == "POST"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return enrolled(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def url(home: Home) -> Iterator[str]:
    with served(home) as url:
        yield url


@pytest.fixture(scope="module")
def owner(home: Home, url: str) -> Iterator[httpx.Client]:
    with browser(home, url) as client:
        yield client


def test_the_lists_of_routes_are_complete(home: Home) -> None:
    guard = Site(home, lambda: at_work(home)).application(Door("t", 1))
    routes = {
        (method, route.path)
        for route in guard._app.routes  # type: ignore[attr-defined]
        for method in route.methods - {"HEAD"}
    }
    assert routes - {("GET", "/static/{name}")} == {*ROUTES}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_cookie_nothing_is_shown_or_done(url: str, home: Home, method: str, path: str) -> None:
    answer = httpx.request(method, url + path, headers={"origin": url}, trust_env=False)
    assert answer.status_code == 401
    assert "desk" not in answer.text
    assert sorted(each.name for each in home.path.iterdir()) == ["page.json", "state.json"]


@pytest.mark.parametrize(("method", "path"), [*ROUTES, *OPEN])
@pytest.mark.parametrize("host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.", ""])
def test_under_another_name_nothing_answers(owner: httpx.Client, url: str, method, path, host) -> None:
    headers = {"host": host.format(port=urlsplit(url).port)}
    assert owner.request(method, path, headers=headers).status_code == 421


@pytest.mark.parametrize(("method", "path"), POSTS)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", None])
def test_what_another_page_sends_is_refused(owner: httpx.Client, method, path, origin) -> None:
    request = owner.build_request(method, path)
    del request.headers["origin"]
    if origin is not None:
        request.headers["origin"] = origin
    assert owner.send(request).status_code == 403


def test_localhost_is_our_name_too(url: str, home: Home) -> None:
    port = urlsplit(url).port
    answer = httpx.get(url, headers={"host": f"localhost:{port}"}, trust_env=False)
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/", "/now", "/leave", "/static/page.js", "/nowhere"])
def test_every_answer_is_closed_in_and_only_looks_are_kept(owner: httpx.Client, path: str) -> None:
    headers = owner.get(path).headers
    assert headers["cache-control"] == ("private, max-age=600" if "static" in path else "no-store")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_ticket_opens_once_and_leaves_the_address(url: str, home: Home) -> None:
    address = ask.address(home)
    first = httpx.get(address, trust_env=False)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert httpx.get(address, trust_env=False).status_code == 401


def test_neither_token_nor_cookie_of_another_purpose_opens(url: str, home: Home) -> None:
    door = tickets.find(home)
    assert door is not None
    for value in (door.token, door.ticket("enter"), door.ticket(ask.STANDING), "", "x.y.z", "9" * 40):
        assert httpx.get(url, cookies={COOKIE_NAME: value}, trust_env=False).status_code == 401


def test_the_command_line_comes_in_with_a_ticket_for_one_question(url: str, home: Home) -> None:
    door = tickets.find(home)
    assert door is not None
    headers = {"authorization": f"Ticket {door.ticket(ask.STANDING)}"}
    assert httpx.get(url + ask.STANDING, headers=headers, trust_env=False).json()["device"] == "desk"
    assert httpx.get(url + ask.STANDING, headers=headers, trust_env=False).status_code == 401
    headers = {"authorization": f"Ticket {door.ticket(ask.STANDING)}"}
    assert httpx.get(url, headers=headers, trust_env=False).status_code == 401


def test_guessing_at_the_door_is_slowed_down(tmp_path: Path) -> None:
    home = enrolled(tmp_path)
    with served(home) as url:
        codes = [httpx.get(f"{url}/enter?key={n}", trust_env=False).status_code for n in range(11)]
    assert codes == [401] * 10 + [429]


def test_tickets_end_after_a_minute_and_fit_one_port_and_purpose() -> None:
    door, now = Door("token", 7), 1000.0
    ticket = door.sealed("enter", 1060)
    assert door.fits("enter", ticket, now)
    assert not door.fits("enter", ticket, 1060.0)
    assert not door.fits("cookie", ticket, now)
    assert not Door("token", 8).fits("enter", ticket, now)
    assert not Door("other", 7).fits("enter", ticket, now)
    assert not door.fits("enter", ticket.replace("1060", "9060"), now)


def test_a_ticket_is_taken_once() -> None:
    door = Door("token", 7)
    once = Once(door)
    ticket = door.ticket("enter")
    assert [once.admits("enter", ticket), once.admits("enter", ticket)] == [True, False]


def test_a_damaged_door_is_made_anew(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for content in (b"", b"{", b"[]", b'{"token": 3}', b'{"token": "short", "port": 1}'):
        home.write("page.json", content)
        assert len(tickets.find_or_make(home).token) >= 43
