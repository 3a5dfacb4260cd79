"""What the command line asks of a running agent, through its page."""

import webbrowser

import httpx

from fl_client import standing
from fl_client.home import Home
from fl_client.link_errors import NotRunning
from fl_client.page import tickets
from fl_client.page.tickets import Door
from fl_client.standing import Standing

DEADLINE = 3.0  # seconds
STANDING = "/api/standing"


def now(home: Home) -> Standing:
    """What the machine does; raises NotRunning without an agent."""
    door = tickets.find(home)
    if door is None:
        raise NotRunning("No agent runs here; start one: constellation run")
    headers = {"authorization": f"Ticket {door.ticket(STANDING)}"}
    try:
        # A proxy that the environment names is not asked for the way to this machine.
        answer = httpx.get(_url(door, STANDING), headers=headers, timeout=DEADLINE, trust_env=False)
        answer.raise_for_status()
        return standing.read(answer.content)
    except (httpx.HTTPError, ValueError) as exc:
        raise NotRunning("No agent runs here; start one: constellation run") from exc


def address(home: Home) -> str:
    """The page with a ticket, for a browser: good for a minute and one use."""
    now(home)
    door = tickets.find(home)
    assert door is not None
    return f"{_url(door, '/enter')}?key={door.ticket(tickets.ENTER)}"


def open_in_browser(url: str) -> bool:
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


def _url(door: Door, path: str) -> str:
    return f"http://127.0.0.1:{door.port}{path}"
