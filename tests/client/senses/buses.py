"""A private message bus and services on it, so that D-Bus is tested for real."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jeepney
import pytest
from jeepney.io.blocking import open_dbus_connection

STARTING_SECONDS = 10.0

needs_dbus_daemon = pytest.mark.skipif(
    shutil.which("dbus-daemon") is None, reason="needs dbus-daemon, Debian's package dbus"
)

# What a service answers: {(path, interface, member, *arguments): (signature, *values)}; all else is an error.
Answers = Mapping[tuple[Any, ...], tuple[Any, ...]]


@contextmanager
def bus_at(path: Path) -> Iterator[str]:
    """The address of a new bus."""
    address = f"unix:path={path}"
    command = ("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}")
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(path.exists)
        yield address
    finally:
        daemon.terminate()
        daemon.wait(STARTING_SECONDS)


@contextmanager
def service(address: str, name: str, answers: Answers, *, mute: bool = False) -> Iterator[None]:
    """A service that gives recorded answers; a mute one hears and says nothing."""
    connection = open_dbus_connection(address)
    connection.bus_proxy.RequestName(name)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                message = connection.receive(timeout=0.02)
            except TimeoutError:
                continue
            if message.header.message_type is jeepney.MessageType.method_call and not mute:
                connection.send(_answer(message, answers))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STARTING_SECONDS)
        connection.close()


def _answer(message: jeepney.Message, answers: Answers) -> jeepney.Message:
    fields, kinds = message.header.fields, jeepney.HeaderFields
    asked = (fields[kinds.path], fields[kinds.interface], fields[kinds.member], *message.body)
    if asked not in answers:
        return jeepney.new_error(
            message, "org.freedesktop.DBus.Error.UnknownMethod", "s", ("no such method",)
        )
    signature, *values = answers[asked]
    return jeepney.new_method_return(message, signature, tuple(values))


def wait_until(done: Callable[[], bool]) -> None:
    until = time.monotonic() + STARTING_SECONDS
    while not done():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.01)
