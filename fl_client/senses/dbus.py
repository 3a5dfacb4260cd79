"""Calls over D-Bus, each with a deadline: a bus or a service that hangs must not hang the agent."""

import importlib
import itertools
import os
import socket
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from fl_client.senses.sense import Unknown

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
CALL_SECONDS = 0.5
PROPERTIES = "org.freedesktop.DBus.Properties"


def system_bus() -> str:
    """The address of the bus that all users share."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", SYSTEM_BUS)


@cache
def _jeepney(module: str) -> Any:
    """The package that knows the wire format. Loaded when a bus is used, which is on Linux only."""
    return importlib.import_module(module)


class Connection:
    """An authenticated connection. Its methods raise OSError, TimeoutError at the deadline, or ValueError."""

    def __init__(self, path: str, until: float) -> None:
        """`path` of a Unix socket; an abstract one starts with a zero byte."""
        self._parser = _jeepney("jeepney").Parser()
        self._serials = itertools.count(1)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._wait_at_most(until)
            self._socket.connect(path)
            self._authenticate(until)
            bus = "org.freedesktop.DBus"
            self.exchange(call(bus, "/org/freedesktop/DBus", bus, "Hello"), until)
        except BaseException:
            self.close()
            raise

    def exchange(self, message: Any, until: float) -> Any:
        """Send a call and wait for its answer, whatever else arrives meanwhile."""
        fields = _jeepney("jeepney").HeaderFields
        serial = next(self._serials)
        self._send(message.serialise(serial=serial), until)
        while True:
            if (answer := self._parser.get_next_message()) is None:
                self._parser.add_data(self._receive(until))
            elif answer.header.fields.get(fields.reply_serial) == serial:
                return answer

    def close(self) -> None:
        self._socket.close()

    def _authenticate(self, until: float) -> None:
        dialogue = _jeepney("jeepney.auth").Authenticator(inc_null_byte=True)
        for line in dialogue:
            self._send(line, until)
            dialogue.feed(self._receive(until))
        self._send(_jeepney("jeepney.auth").BEGIN, until)

    def _send(self, data: bytes, until: float) -> None:
        self._wait_at_most(until)
        self._socket.sendall(data)

    def _receive(self, until: float) -> bytes:
        self._wait_at_most(until)
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the bus closed the connection")
        return data

    def _wait_at_most(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(left)


def call(service: str, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Any:
    """A call that starts no service: looking must not change the machine."""
    jeepney = _jeepney("jeepney")
    message = jeepney.new_method_call(
        jeepney.DBusAddress(path, service, interface), member, signature or None, body
    )
    message.header.flags = jeepney.MessageFlag.no_auto_start
    return message


class Bus:
    """A bus that is connected at the first call, and again after a failure. All failures are Unknown."""

    def __init__(self, address: Callable[[], str], *, seconds: float = CALL_SECONDS) -> None:
        """`address` is asked at each connect, since a desktop's bus comes and goes; it may raise Unknown."""
        self._address = address
        self._seconds = seconds
        self._connection: Connection | None = None

    def call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> tuple[Any, ...]:
        until = time.monotonic() + self._seconds
        try:
            message = call(service, path, interface, member, signature, *body)
            if self._connection is None:
                self._connection = Connection(self._path(), until)
            answer = self._connection.exchange(message, until)
        except ImportError as exc:
            raise Unknown("the package jeepney, which speaks D-Bus, is not installed") from exc
        except (OSError, ValueError, RuntimeError) as exc:
            self.close()
            raise Unknown(f"{service} cannot be asked: {exc}") from exc
        if answer.header.message_type is _jeepney("jeepney").MessageType.error:
            raise Unknown(f"{service} answers: {answer.body[0] if answer.body else 'an error'}")
        return tuple(answer.body)

    def get(self, service: str, path: str, interface: str, name: str) -> Any:
        """A property's value, taken out of its variant."""
        return self.call(service, path, PROPERTIES, "Get", "ss", interface, name)[0][1]

    def get_all(self, service: str, path: str, interface: str) -> dict[str, Any]:
        answer = self.call(service, path, PROPERTIES, "GetAll", "s", interface)[0]
        return {name: value for name, (_, value) in answer.items()}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _path(self) -> str:
        address = self._address()
        if not address:
            raise Unknown("there is no such bus here")
        return str(next(_jeepney("jeepney.bus").get_connectable_addresses(address)))
