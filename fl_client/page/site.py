"""What the page shows and does. Every change is the same call as the command line's."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fl_client import leaving, owner, private_data
from fl_client.home import Home
from fl_client.link_errors import BadInput, LinkError
from fl_client.page import controls, sheet
from fl_client.page.guard import Guard
from fl_client.page.tickets import Door
from fl_client.policy import layers, words
from fl_client.standing import Standing

HERE = Path(__file__).parent
# "look" is what the dashboard shows too.
STATIC = {path.name: path for folder in ("look", "static") for path in (HERE / folder).iterdir()}
BODY_MOST = 32_768  # bytes
SAID = {
    "paused": "This machine is paused.",
    "resumed": "This machine takes work again.",
    "rules": "Your rules are saved; they hold at once.",
    "reset": "Your own rules are gone; the company’s hold.",
    "withdrawn": "The data is withdrawn; its rows stay where they are.",
}
Action = Callable[[dict[str, str]], None]


class Site:
    def __init__(self, home: Home, standing: Callable[[], Standing]) -> None:
        self._home = home
        self._standing = standing

    def application(self, door: Door) -> Guard:
        routes = [
            Route("/", self.index),
            Route("/now", self.now),
            Route("/pause", self.pause, methods=["POST"]),
            Route("/resume", self.resume, methods=["POST"]),
            Route("/rules", self.rules, methods=["POST"]),
            Route("/rules/preview", self.preview, methods=["POST"]),
            Route("/rules/reset", self.reset, methods=["POST"]),
            Route("/data/remove", self.withdraw, methods=["POST"]),
            Route("/leave", self.ask_to_leave, methods=["GET"]),
            Route("/leave", self.leave, methods=["POST"]),
            Route("/api/standing", self.standing),
            Route("/static/{name}", self.static),
        ]
        application = Starlette(routes=routes, exception_handlers={LinkError: _gone})
        return Guard(application, door, self._locked)

    async def index(self, request: Request) -> Response:
        return await self._page(said=SAID.get(request.query_params.get("said", ""), ""))

    async def now(self, request: Request) -> Response:
        """The parts that change by themselves."""
        return HTMLResponse(sheet.render("_now.html", **sheet.of_now(self._home, self._standing())))

    async def standing(self, request: Request) -> Response:
        return JSONResponse(self._standing().as_message())

    async def pause(self, request: Request) -> Response:
        def act(form: dict[str, str]) -> None:
            end = owner.end_of(form.get("time", ""), datetime.now().astimezone())
            owner.set_pause(self._home, end, form.get("text", ""))

        return await self._act(request, act, "paused")

    async def resume(self, request: Request) -> Response:
        return await self._act(request, lambda form: owner.resume(self._home), "resumed")

    async def rules(self, request: Request) -> Response:
        def act(form: dict[str, str]) -> None:
            mine, above = owner.saved_rules(self._home), self._standing().above
            owner.save_rules(self._home, controls.applied(form, mine, above))

        return await self._act(request, act, "rules")

    async def preview(self, request: Request) -> Response:
        """What would hold with the form as it stands."""
        above = self._standing().above
        try:
            mine = controls.applied(await _form(request), owner.saved_rules(self._home), above)
        except BadInput as exc:
            return JSONResponse({"fault": str(exc)})
        sentence = words.sentence(layers.combine(above, mine))
        return JSONResponse({"sentence": sentence, "in_vain": layers.loosened(mine, above)})

    async def reset(self, request: Request) -> Response:
        return await self._act(request, lambda form: owner.forget_rules(self._home), "reset")

    async def withdraw(self, request: Request) -> Response:
        def act(form: dict[str, str]) -> None:
            private_data.remove(self._home, form.get("name", ""))

        return await self._act(request, act, "withdrawn")

    async def ask_to_leave(self, request: Request) -> Response:
        return HTMLResponse(sheet.render("leave.html", standing=self._standing()))

    async def leave(self, request: Request) -> Response:
        try:
            form = await _form(request)
            done = await asyncio.to_thread(leaving.leave, self._home, force=form.get("force") == "yes")
        except LinkError as exc:
            page = sheet.render("leave.html", standing=self._standing(), fault=str(exc))
            return HTMLResponse(page, 400)
        return HTMLResponse(sheet.render("left.html", done=done))

    async def static(self, request: Request) -> Response:
        path = STATIC.get(request.path_params["name"])
        return FileResponse(path) if path else PlainTextResponse("There is no such file.", 404)

    async def _act(self, request: Request, action: Action, said: str) -> Response:
        try:
            action(await _form(request))
        except LinkError as exc:
            return await self._page(fault=str(exc), status=400)
        return Response(status_code=303, headers={"location": f"/?said={said}"})

    async def _page(self, said: str = "", fault: str = "", status: int = 200) -> Response:
        facts: dict[str, Any] = await asyncio.to_thread(sheet.of_page, self._home, self._standing())
        return HTMLResponse(sheet.render("index.html", **facts, said=said, fault=fault), status)

    def _locked(self) -> Response:
        return HTMLResponse(sheet.render("locked.html"), 401)


def _gone(request: Request, exc: Exception) -> Response:
    """The machine left, and its agent is about to end."""
    return PlainTextResponse(str(exc), 410)


async def _form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_MOST:
            raise BadInput(f"The form is larger than {BODY_MOST} bytes.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError as exc:
        raise BadInput("The form cannot be read.") from exc
