"""The page of a machine at work, on a free port in a thread's own loop."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from fl_client import owner
from fl_client.home import Home, State
from fl_client.page import ask, tickets
from fl_client.page.server import Page
from fl_client.policy import layers
from fl_client.policy.decide import decide
from fl_client.policy.facts import Facts
from fl_client.policy.rules import COMPANY_DEFAULTS
from fl_client.standing import Connection, Phase, Standing, Work

DEADLINE = 15.0
NOW = datetime.now(UTC)
WORK = Work(
    9, "Chest <X>-rays", "Rosa Lind", "cnn", 40, NOW - timedelta(minutes=22), Phase.TRAINING, 12, 37, 61
)


def enrolled(path: Path) -> Home:
    home = Home(path)
    home.save(State("https://train.example:8443", "d", "desk", status="approved"))
    return home


def at_work(home: Home) -> Standing:
    will = owner.read(home)
    rules = layers.combine(COMPANY_DEFAULTS, will.rules)
    facts = Facts(input_idle_seconds=5000, cores=8, ram_total_bytes=16 * 10**9, ram_available_bytes=9 * 10**9)
    return Standing(
        device="desk",
        server="https://train.example:8443",
        status=home.enrolled().status,
        at=NOW,
        connection=Connection.CONNECTED,
        since=NOW,
        decision=decide(facts, rules, datetime.now().astimezone(), pause=will.pause),
        work=WORK,
        above=COMPANY_DEFAULTS,
        owner=will.rules,
    )


@contextmanager
def served(home: Home) -> Iterator[str]:
    """The address of the page; it ends cleanly."""
    started, ended, address = threading.Event(), threading.Event(), []

    async def serve() -> None:
        page = Page(home, lambda: at_work(home))
        await page.start()
        address.append(f"http://127.0.0.1:{tickets.find_or_make(home).port}")
        started.set()
        await asyncio.to_thread(ended.wait, DEADLINE * 4)
        await page.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(DEADLINE)
    try:
        yield address[0]
    finally:
        ended.set()
        thread.join(DEADLINE)
        assert not thread.is_alive()


@contextmanager
def browser(home: Home, url: str) -> Iterator[httpx.Client]:
    """As a browser that came in with a ticket: it holds the cookie and says where a form comes from."""
    with httpx.Client(base_url=url, headers={"origin": url}, trust_env=False) as client:
        assert client.get(ask.address(home)).status_code == 303
        yield client
