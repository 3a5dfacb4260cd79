"""Is everything in order that training on this machine needs? One finding for each thing looked at."""

import json
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

import httpx
import psutil

from fl_client import hardware, identity, leaving, owner
from fl_client import home as files
from fl_client.home import Home, State
from fl_client.identity import Identity
from fl_client.link_errors import LinkError, NotRunning
from fl_client.page import ask
from fl_client.policy.decide import decide
from fl_client.policy.phrases import gigabytes
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules
from fl_client.senses.idle import chooser
from fl_client.senses.idle.chooser import BackendRow
from fl_client.senses.reader import Reader

TORCH_SECONDS = 60.0
LOOK_SECONDS = 1.0  # between two looks: the load of other programs is a difference
SERVER_SECONDS = 10.0
CLOCK_SECONDS = 60.0  # farther off, the server's answer corrects it for signing; people should know
DISK_LEAST = 2_000_000_000  # bytes

# The worker's own choice of device, asked in a process that ends: torch stays out of this one.
TORCH = """
import json, torch
mps = torch.backends.mps.is_available()
cuda = torch.cuda.is_available()
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
threads = torch.get_num_threads()
print(json.dumps({"version": torch.__version__, "cuda": names, "mps": mps, "threads": threads}))
"""


class Verdict(StrEnum):
    GOOD = "ok"
    NOTE = "note"  # worth knowing; training works
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    what: str
    verdict: Verdict
    text: str


def look(home: Home) -> Iterator[Finding]:
    yield from _enrolment(home)
    yield from _owner(home)
    yield from _senses(home)
    yield _torch()
    yield _disk(home)


def _enrolment(home: Home) -> Iterator[Finding]:
    state = home.state()
    if state is None:
        yield Finding("enrolment", Verdict.BAD, "not enrolled; run: constellation enrol CODE")
        return
    verdict = {"approved": Verdict.GOOD, "pending": Verdict.NOTE}.get(state.status, Verdict.BAD)
    yield Finding("enrolment", verdict, f"{state.name} with {state.server}, {state.status}")
    try:
        ask.now(home)
        yield Finding("agent", Verdict.GOOD, "runs")
    except NotRunning as exc:
        yield Finding("agent", Verdict.NOTE, str(exc))
    yield _certificate(home)
    yield from _server(home, state)


def _certificate(home: Home) -> Finding:
    try:
        certificate = Identity.load(home).certificate
        assert certificate is not None
    except (LinkError, ValueError) as exc:
        return Finding("certificate", Verdict.BAD, str(exc))
    until = certificate.not_valid_after_utc
    if until <= datetime.now(UTC):
        return Finding("certificate", Verdict.BAD, f"ended on {until:%Y-%m-%d}; enrol this machine again")
    return Finding("certificate", Verdict.GOOD, f"until {until:%Y-%m-%d}; the agent renews it")


def _server(home: Home, state: State) -> Iterator[Finding]:
    try:
        yield _clock(home, state)
        with leaving.platform(home, state) as api:
            said = api.get("/api/v1/device/me")
        yield Finding("server", Verdict.GOOD, f"knows this machine as {said['status']}, {said['presence']}")
    except (LinkError, httpx.HTTPError, ssl.SSLError) as exc:
        yield Finding("server", Verdict.BAD, str(exc))


def _clock(home: Home, state: State) -> Finding:
    """By the date of any answer, since a signed one already needs a clock that is near."""
    trust = identity.tls(state.trust, (home.read(files.CA) or b"").decode())
    before = time.time()
    answer = httpx.get(f"{state.server}/api/v1/device/ca", verify=trust, timeout=SERVER_SECONDS)
    theirs = parsedate_to_datetime(answer.headers["date"]).timestamp() if "date" in answer.headers else None
    if theirs is None:
        return Finding("clock", Verdict.NOTE, "the server does not tell its time")
    off = abs((before + time.time()) / 2 - theirs)
    verdict = Verdict.GOOD if off < CLOCK_SECONDS else Verdict.NOTE
    return Finding("clock", verdict, f"{off:.0f} s from the server’s")


def _owner(home: Home) -> Iterator[Finding]:
    try:
        pause = owner.pause(home)
        owner.saved_rules(home)
    except owner.Damaged as exc:
        yield Finding("your rules", Verdict.BAD, str(exc))
        return
    if pause is not None and pause.holds(datetime.now(UTC)):
        yield Finding("pause", Verdict.NOTE, "you paused this machine; constellation resume ends it")


def _senses(home: Home) -> Iterator[Finding]:
    reader = Reader(lambda: [psutil.Process().pid])
    reader.read()
    time.sleep(LOOK_SECONDS)
    facts = reader.read()
    for row in reader.describe():
        verdict = Verdict.GOOD if row.value else Verdict.NOTE
        yield Finding(row.what, verdict, f"{row.value or f'unknown: {row.why}'} ({row.source})")
    yield from map(_backend, chooser.choose().describe())
    try:
        rules, whose = ask.now(home).rules, "the rules"
    except (NotRunning, LinkError):
        rules, whose = COMPANY_DEFAULTS, "the usual rules"
    yield _decision(rules, whose, decide(facts, rules, datetime.now().astimezone()).unknown)


def _backend(row: BackendRow) -> Finding:
    """One way of seeing whether somebody is at the machine."""
    if not row.available:
        return Finding(f"  by {row.name}", Verdict.NOTE, row.why)
    idle = row.reading.idle_seconds
    quiet = "no time of the last input" if idle is None else f"last input {idle:.0f} s ago"
    return Finding(f"  by {row.name}", Verdict.GOOD, f"{quiet}, session {row.reading.session or 'unknown'}")


def _decision(rules: Rules, whose: str, unknown: tuple[str, ...]) -> Finding:
    if not unknown:
        return Finding("policy", Verdict.GOOD, f"this machine tells all that {whose} ask for")
    if "input_idle_seconds" in unknown and rules.train_while_in_use is False:
        text = "this machine cannot tell whether you are using it, so it will not train"
        return Finding("policy", Verdict.BAD, text)
    return Finding("policy", Verdict.NOTE, f"{whose} ask for what is unknown here: {', '.join(unknown)}")


def _torch() -> Finding:
    try:
        done = subprocess.run(
            [sys.executable, "-c", TORCH], capture_output=True, text=True, timeout=TORCH_SECONDS, check=False
        )
        seen = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return Finding("torch", Verdict.BAD, f"did not load within {TORCH_SECONDS:.0f} s")
    except (OSError, ValueError):
        fault = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        return Finding("torch", Verdict.BAD, f"cannot be used: {fault[0]}")
    where = ", ".join(seen["cuda"]) or ("the Apple GPU" if seen["mps"] else "the processor")
    if hardware.gpus() and not seen["cuda"]:
        text = (
            f"torch {seen['version']} does not see the GPU that the driver names; it trains on the processor"
        )
        return Finding("torch", Verdict.NOTE, text)
    return Finding("torch", Verdict.GOOD, f"{seen['version']}, trains on {where}, {seen['threads']} threads")


def _disk(home: Home) -> Finding:
    place = home.path if home.path.exists() else home.path.parent
    free = shutil.disk_usage(place).free
    verdict = Verdict.GOOD if free >= DISK_LEAST else Verdict.NOTE
    return Finding("disk", verdict, f"{gigabytes(free)} free in {place}")
