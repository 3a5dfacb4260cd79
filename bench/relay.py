"""A TCP relay that counts: bytes between clients and their server, both ways, over time."""

import bisect
import socket
import threading
import time
from contextlib import suppress

BLOCK = 1 << 18


class Relay:
    """Listens on `port` and passes everything on to `target`, both on the loopback address."""

    def __init__(self, port: int, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._times: list[float] = [time.time()]
        self._totals: list[int] = [0]
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def between(self, start: float, end: float) -> int:
        with self._lock:
            return self._at(end) - self._at(start)

    def close(self) -> None:
        self._listener.close()

    def _at(self, moment: float) -> int:
        return self._totals[max(0, bisect.bisect(self._times, moment) - 1)]

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(BLOCK):
                with self._lock:
                    self._times.append(time.time())
                    self._totals.append(self._totals[-1] + len(block))
                sink.sendall(block)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
