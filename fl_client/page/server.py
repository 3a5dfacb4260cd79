"""The page's web server, inside the agent's own loop."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator

import uvicorn

from fl_client.home import Home
from fl_client.page import tickets
from fl_client.page.site import Site
from fl_client.page.tickets import Door
from fl_client.standing import Standing

log = logging.getLogger("constellation.page")

ADDRESS = "127.0.0.1"
END_SECONDS = 3  # for answers that are under way


class Page:
    """`standing` is asked at each look; it is called in the loop and must not block."""

    def __init__(self, home: Home, standing: Callable[[], Standing]) -> None:
        self._home = home
        self._site = Site(home, standing)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """A machine without a free port trains all the same, without the page."""
        try:
            listening, door = _listen(self._home)
        except OSError as exc:
            log.warning("there is no page: %s", exc)
            return
        config = uvicorn.Config(
            self._site.application(door),
            lifespan="off",
            interface="asgi3",
            loop="none",
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=50,
            timeout_graceful_shutdown=END_SECONDS,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        log.info("the owner's page is at http://%s:%s; open it with: constellation page", ADDRESS, door.port)

    async def close(self) -> None:
        """Answers that are under way arrive."""
        if self._server is None or self._task is None:
            return
        self._server.ended.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._task, END_SECONDS + 1)


class _Server(uvicorn.Server):
    """Leaves signals to the agent, and does not wake up ten times a second for a date that nobody reads."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.ended.wait()


def _listen(home: Home) -> tuple[socket.socket, Door]:
    """The port of last time, so that a bookmark stays good, or any that is free."""
    door = tickets.find_or_make(home)
    try:
        listening = _bound(door.port)
    except OSError:
        listening = _bound(0)
    return listening, Door(door.token, listening.getsockname()[1]).save(home)


def _bound(port: int) -> socket.socket:
    listening = socket.socket()
    try:
        if os.name == "posix":
            # The connections of an agent that just ended must not keep its port.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((ADDRESS, port))
    except OSError:
        listening.close()
        raise
    return listening
