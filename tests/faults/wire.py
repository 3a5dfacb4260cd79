"""The network between one client and the server: it can be cut, healed, or held within a transfer."""

import asyncio
import threading
from contextlib import suppress

BLOCK = 16 * 1024
DOWN, UP = "down", "up"


class Wire:
    """A relay on a port of its own. Every connection of the client goes through it."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self._trap: tuple[str, int] | None = None
        self.trapped = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._relay, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Every connection breaks, and new ones come to nothing."""
        self._is_cut = True
        self._call(self._break_all())

    def heal(self) -> None:
        self._is_cut = False

    def hold(self, direction: str, after: int) -> None:
        """The next transfer that way stops after so many bytes of one connection; `trapped` tells."""
        self.trapped.clear()
        self._trap = (direction, after)

    def release(self) -> None:
        """Let nothing be held any more; what was held is broken off."""
        self._trap = None
        self._call(self._break_all())

    def close(self) -> None:
        self._server.close()
        self._call(self._break_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _break_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        # Each relay sees its end and goes.
        for _ in range(50):
            if not self._writers:
                return
            await asyncio.sleep(0.02)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self._writers |= both
        try:
            ways = (
                asyncio.create_task(self._pass_on(reader, server_writer, UP)),
                asyncio.create_task(self._pass_on(server_reader, writer, DOWN)),
            )
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        trap, passed = self._trap, 0
        with suppress(OSError):
            while data := await reader.read(BLOCK):
                if self._trap is not trap:
                    trap, passed = self._trap, 0
                passed += len(data)
                if trap and trap[0] == way and passed >= trap[1]:
                    self._trap = None
                    self.trapped.set()
                    await asyncio.Event().wait()  # until the connection is broken off
                writer.write(data)
                await writer.drain()
            await asyncio.sleep(0.05)  # for the last bytes
