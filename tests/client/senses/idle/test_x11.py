import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fl_client.policy.facts import Session
from fl_client.senses.desktop import Desktop
from fl_client.senses.idle import x11, x11_wire
from fl_client.senses.idle.reading import Reading
from fl_client.senses.idle.x11 import X11
from fl_client.senses.sense import Unknown
from tests.client.senses.buses import wait_until

SECRET = bytes(range(16))
WAIT_SECONDS = 10.0

# Recorded from Xvfb 21.1.7, without the eight bytes before.
ACCEPTED = bytes.fromhex(
    "8fa5b80000002000ffff1f00000100001400ffff01060000202008ff00000000"
    "54686520582e4f726720466f756e646174696f6e"  # the vendor
    "010120000000000004082000000000000808200000000000101020000000000018202000000000002020200000000000"
    "4c000000200000000100000000000000000000004001f00051003d000100010021000000000008"
)
NO_XWAYLAND = bytes.fromhex("0100010000000000000000000000000000000000000000000000000000000000")
HAS_SAVER = bytes.fromhex("0100020000000000018f5c000000000000000000000000000000000000000000")
INFO = bytes.fromhex("01000400000000004b0000000e200900b2070000000000000000000000000000")
REFUSED = b"Authorization required, but no authorization protocol specified\n"


def entry(family: int, address: bytes, number: bytes, name: bytes, secret: bytes) -> bytes:
    fields = (address, number, name, secret)
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(each)) + each for each in fields)


def test_recorded_answers_are_read():
    assert x11_wire.root_window(ACCEPTED) == 0x4C
    assert x11_wire.extension_opcode(NO_XWAYLAND) == 0
    assert x11_wire.extension_opcode(HAS_SAVER) == 143
    assert x11.reading(x11_wire.idle_milliseconds(INFO)) == Reading(1.97, Session.ACTIVE)


def test_requests_are_as_the_protocol_wants_them():
    assert x11_wire.hello(b"") == bytes.fromhex("6c000b000000000000000000")
    assert x11_wire.hello(SECRET)[:12] == bytes.fromhex("6c000b000000120010000000")
    assert len(x11_wire.hello(SECRET)) == 12 + 20 + 16
    assert (
        x11_wire.query_extension(b"MIT-SCREEN-SAVER")
        == bytes.fromhex("6200060010000000") + b"MIT-SCREEN-SAVER"
    )
    assert x11_wire.query_saver(143, 0x4C) == bytes.fromhex("8f0102004c000000")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([entry(256, b"desk", b"0", x11_wire.COOKIE, SECRET)], SECRET),
        ([entry(256, b"desk", b"", x11_wire.COOKIE, SECRET)], SECRET),
        (
            [
                entry(256, b"desk", b"1", x11_wire.COOKIE, b"x"),
                entry(256, b"", b"0", x11_wire.COOKIE, SECRET),
            ],
            SECRET,
        ),
        ([entry(256, b"desk", b"0", b"XDM-AUTHORIZATION-1", b"x")], b""),
        ([], b""),
    ],
)
def test_the_secret_of_the_display_is_found_in_the_authority_file(entries, expected):
    assert x11_wire.cookie(b"".join(entries), ":0") == expected


@pytest.mark.parametrize(
    ("desktop", "says"),
    [
        (Desktop(), "no X display"),
        (Desktop(display=":0", wayland="/run/user/1000/wayland-0"), "only what happens in its own windows"),
        (Desktop(display=":98765"), "cannot be asked"),
    ],
)
def test_without_an_x_server_the_reason_is_told(desktop, says):
    assert says in X11(lambda: desktop).probe()


@contextmanager
def recorded_server(folder: Path, *answers: bytes, deaf: bool = False) -> Iterator[None]:
    """A server that gives its recorded answers in turn, each to one request."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "X7"))
        listening.listen()

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                for answer in answers:
                    client.recv(4096)
                    client.sendall(answer)
                client.recv(4096)

        if not deaf:
            threading.Thread(target=serve, daemon=True).start()
        yield


def accepted() -> bytes:
    rest = ACCEPTED.ljust(332, b"\0")
    return struct.pack("<BxHHH", 1, 11, 0, len(rest) // 4) + rest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(x11_wire, "X_SOCKETS", tmp_path)
    return tmp_path


DISPLAY = Desktop(display=":7", xauthority="/nowhere")


def test_a_change_of_the_keyboard_on_the_way_does_not_confuse(folder):
    mapping_notify = bytes([34]) + bytes(31)
    with recorded_server(folder, accepted(), NO_XWAYLAND, HAS_SAVER, mapping_notify + INFO):
        assert X11(lambda: DISPLAY).read() == Reading(1.97, Session.ACTIVE)


def test_xwayland_is_known_by_its_extension(folder):
    with recorded_server(folder, accepted(), HAS_SAVER):
        assert "is Xwayland" in X11(lambda: DISPLAY).probe()


def test_a_server_without_a_screen_saver_is_of_no_use(folder):
    with recorded_server(folder, accepted(), NO_XWAYLAND, NO_XWAYLAND):
        assert "no screen saver extension" in X11(lambda: DISPLAY).probe()


def test_a_refusal_is_told_in_the_words_of_the_server(folder):
    refused = struct.pack("<BBHHH", 0, len(REFUSED), 11, 0, len(REFUSED) // 4) + REFUSED
    with recorded_server(folder, refused):
        assert "Authorization required" in X11(lambda: DISPLAY).probe()


def test_an_error_is_no_answer(folder):
    error = bytes([0, 9]) + bytes(30)
    with recorded_server(folder, accepted(), error):
        assert "error 9" in X11(lambda: DISPLAY).probe()


def test_a_server_that_hangs_costs_the_deadline_and_not_more(folder):
    with recorded_server(folder, deaf=True):
        started = time.monotonic()
        assert "cannot be asked" in X11(lambda: DISPLAY, seconds=0.2).probe()
        assert 0.15 < time.monotonic() - started < 2


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    desktop: Desktop

    def tool(self, *command: str) -> None:
        env = os.environ | {"DISPLAY": self.desktop.display, "XAUTHORITY": self.desktop.xauthority}
        subprocess.run(("xdotool", *command), env=env, check=True, timeout=WAIT_SECONDS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real X server that lets nobody in without the secret."""
    authority = tmp_path / "Xauthority"
    authority.write_bytes(entry(65535, b"", b"", x11_wire.COOKIE, SECRET))
    told, tell = os.pipe()
    command = ("Xvfb", "-displayfd", str(tell), "-auth", str(authority), "-nolisten", "tcp")
    process = subprocess.Popen(
        (*command, "-screen", "0", "320x240x8"), pass_fds=(tell,), stderr=subprocess.DEVNULL
    )
    os.close(tell)
    with os.fdopen(told) as answer:
        number = answer.readline().strip()
    try:
        yield Server(process, Desktop(display=f":{number}", xauthority=str(authority)))
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


needs_xvfb = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool")),
    reason="needs Xvfb and xdotool, Debian's xvfb and xdotool",
)


@needs_xvfb
def test_a_real_server_counts_from_the_last_move_of_the_mouse(server):
    backend = X11(lambda: server.desktop)
    for touch in (("mousemove", "10", "20"), ("key", "a")):
        wait_until(lambda: backend.read().idle_seconds > 0.3)
        server.tool(*touch)
        wait_until(lambda: backend.read().idle_seconds < 0.3)
    assert backend.read().session is Session.ACTIVE


@needs_xvfb
def test_a_real_server_lets_nobody_in_without_the_secret(server, tmp_path):
    stranger = Desktop(display=server.desktop.display, xauthority=str(tmp_path / "none"))
    assert "refuses this client" in X11(lambda: stranger).probe()


@needs_xvfb
def test_a_real_server_that_stops_answering_and_goes_costs_no_more_than_the_deadline(server):
    backend = X11(lambda: server.desktop, seconds=0.2)
    wait_until(lambda: backend.probe() == "")
    server.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    assert "cannot be asked" in backend.probe()
    assert time.monotonic() - started < 2
    server.process.send_signal(signal.SIGCONT)
    wait_until(lambda: backend.probe() == "")
    server.process.kill()
    server.process.wait(WAIT_SECONDS)
    with pytest.raises(Unknown):
        backend.read()
