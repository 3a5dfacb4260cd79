"""The other end of a consumer's socket, for tests. Channels' own needs the daphne server; this does not."""

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator


class Socket(ApplicationCommunicator):
    def __init__(self, application: Any, path: str, headers: dict[str, str] | None = None) -> None:
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": raw, "subprotocols": []}
        super().__init__(application, scope)

    async def open(self) -> None:
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(5)
        assert answer["type"] == "websocket.accept", answer

    async def say(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await self.send_input({"type": "websocket.receive", "text": text})

    async def say_bytes(self, data: bytes) -> None:
        await self.send_input({"type": "websocket.receive", "bytes": data})

    async def hear(self, seconds: float = 5) -> dict[str, Any]:
        """The next message; closing instead is an error."""
        event = await self.receive_output(seconds)
        assert event["type"] == "websocket.send", event
        heard: dict[str, Any] = json.loads(event["text"])
        return heard

    async def closed(self, seconds: float = 5) -> int:
        """The code with which the server closes."""
        event = await self.receive_output(seconds)
        assert event["type"] == "websocket.close", event
        code: int = event["code"]
        return code

    async def refused(self, code: int, seconds: float = 5) -> dict[str, Any]:
        """The last message of a server that closes with that code."""
        last = await self.hear(seconds)
        assert await self.closed() == code
        await self.leave(code)
        return last

    async def leave(self, code: int = 1000) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": code})
        await self.wait(5)
