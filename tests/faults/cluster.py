"""A platform with six machines that are not alike, and jobs on it that something happens to."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from tests.e2e.api import ADMIN, ENDED, RESEARCHER, Api, Job, until
from tests.e2e.platform import CALL_SECONDS, Client, Platform
from tests.faults.wire import Wire

T = TypeVar("T")

DESKS = tuple(f"desk-{number}" for number in range(1, 7))
SLOW, SMALL = DESKS[4], DESKS[5]
ROUNDS = 8
SPEC = {
    "model": {"name": "lenet"},
    "dataset": {"name": "fashion-mnist", "options": {"source": "sample"}},
    "partition": {"scheme": "iid", "count": len(DESKS)},
    "rounds": ROUNDS,
    "training": {"batch_size": 32, "learning_rate": 0.05, "momentum": 0.9},
    "participation": {
        "min_devices": len(DESKS),
        "max_devices": len(DESKS),
        "round_deadline_seconds": 120,
    },
    "metric": {"name": "accuracy", "direction": "maximize"},
    "seed": 7,
}
ALONE = 300.0  # seconds for a job with a fault, far more than it takes
TOKEN_SECONDS = 600.0  # that a token is used; it is good for 900
ANSWER = 60.0  # seconds that a person keeps asking a platform that is down


class Brake:
    """Leaves a machine's worker a fifth of its time: it is stopped and continued ten times a second."""

    SHARE, PERIOD = 0.2, 0.1

    def __init__(self, client: Client) -> None:
        self._client = client
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._end.set()
        self._thread.join(5)

    def _run(self) -> None:
        worker, looked = None, 0.0
        while not self._end.is_set():
            if time.monotonic() - looked > 0.5:
                with suppress(psutil.Error):
                    worker = self._client.worker()
                looked = time.monotonic()
            if worker is None:
                self._end.wait(0.2)
                continue
            with suppress(psutil.Error):
                worker.suspend()
                self._end.wait(self.PERIOD * (1 - self.SHARE))
                worker.resume()
            self._end.wait(self.PERIOD * self.SHARE)


@dataclass
class Outcome:
    """What became of a job that something happened to."""

    job: dict[str, Any]
    rounds: list[dict[str, Any]]
    parts: list[dict[str, Any]]
    checkpoints: dict[int, dict[str, Any]]
    fault_at: float
    reference: dict[int, str] = field(default_factory=dict)

    @property
    def seconds_to_next_round(self) -> float:
        ends = [datetime.fromisoformat(row["finished_at"]).timestamp() for row in self.rounds]
        return min(end for end in ends if end > self.fault_at) - self.fault_at

    def accepted(self, number: int) -> set[str]:
        return {p["device_name"] for p in self.parts if p["round"] == number and p["status"] == "accepted"}

    def check(self) -> None:
        """Done by itself, every round once, no gap, no duplicate, and the right numbers."""
        assert self.job["status"] == "completed", (self.job["reason"], self.parts[-12:])
        assert [row["number"] for row in self.rounds] == list(range(1, ROUNDS + 1))
        assert sorted(self.checkpoints) == list(range(ROUNDS + 1))
        for row in self.rounds:
            assert row["evaluation"], f"round {row['number']} was not tested"
            assert row["metrics"]
            by = self.accepted(row["number"])
            assert row["accepted"] == len(by) > 0
        assert self.same_as_undisturbed() > 0

    def same_as_undisturbed(self) -> int:
        """For how many rounds the model is that of the job that nothing happened to, bit for bit."""
        for number in range(ROUNDS + 1):
            if number and len(self.accepted(number)) < len(DESKS):
                return number
            assert self.checkpoints[number]["sha256"] == self.reference[number], f"round {number} differs"
        return ROUNDS + 1


class Cluster:
    """Six machines; one is five times slower than the others, one may use half of the memory."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.wires: dict[str, Wire] = {}
        self.reference: dict[int, str] = {}
        self._brake: Brake | None = None
        self._jobs = 0
        self._logged_in: dict[str, tuple[float, Api]] = {}

    def person(self, name: str) -> Api:
        """Logged in again only when the token is old: the platform bounds log-ins a minute."""
        since, api = self._logged_in.get(name, (0.0, None))
        if api is None or time.monotonic() - since > TOKEN_SECONDS:
            api = patiently(lambda: self.platform.login(name))
            self._logged_in[name] = (time.monotonic(), api)
        return api

    def open(self) -> None:
        admin = self.person(ADMIN)
        code = admin.code(max_uses=len(DESKS))["code"]
        clients = [self.platform.client(name) for name in DESKS]
        joining = [client.begin("enrol", code, "--name", client.name) for client in clients]
        for client, process in zip(clients, joining, strict=True):
            _, complaints = process.communicate(timeout=CALL_SECONDS)
            assert process.returncode == 0, complaints
            wire = self.wires[client.name] = Wire(self.platform.port)
            state = client.folder / "state.json"
            facts = json.loads(state.read_text())
            state.write_text(json.dumps(facts | {"server": f"http://127.0.0.1:{wire.port}"}))
            self.start(client.name)
        self.platform.online(admin, *DESKS)
        self._brake = Brake(self.desk(SLOW))

    def close(self) -> None:
        if self._brake:
            self._brake.release()
        for wire in self.wires.values():
            wire.close()

    def desk(self, name: str) -> Client:
        return next(client for client in self.platform.clients if client.name == name)

    def start(self, name: str) -> None:
        client = self.desk(name)
        client.start()
        if name == SMALL and client.agent is not None:
            half = psutil.virtual_memory().total // 2
            psutil.Process(client.agent.pid).rlimit(psutil.RLIMIT_AS, (half, half))

    def all_there(self, seconds: float = 60.0) -> None:
        """Every machine is on, has its libraries loaded and has nothing to do."""
        away = [name for name in DESKS if not self._is_on(name)]
        for name in away:
            self.start(name)
        admin = self.person(ADMIN)
        for row in admin.rows("jobs"):
            if row["status"] not in ENDED:
                admin.post(f"jobs/{row['id']}/cancel")
        self.platform.online(admin, *DESKS, seconds=seconds)
        if away:
            self.warm_up()

    def _is_on(self, name: str) -> bool:
        agent = self.desk(name).agent
        return agent is not None and agent.poll() is None

    def warm_up(self) -> None:
        """Or a job's first round misses who starts slowly."""
        self.outcome(self.submit("warm up", rounds=1), time.time())

    def submit(self, name: str, **changes: Any) -> Job:
        self._jobs += 1
        return self.person(RESEARCHER).job(f"{self._jobs} {name}", **SPEC | changes)

    def undisturbed(self) -> Outcome:
        """The job that nothing happens to: what the others have to equal, and how long a round takes."""
        self.warm_up()
        outcome = self.outcome(self.submit("undisturbed"), time.time())
        assert outcome.job["status"] == "completed", outcome.job["reason"]
        assert all(outcome.accepted(number) == set(DESKS) for number in range(1, ROUNDS + 1))
        self.reference = {number: row["sha256"] for number, row in outcome.checkpoints.items()}
        return outcome

    def with_fault(self, name: str, fault: Callable[[Job], Any], *, after: int = 3) -> Outcome:
        """Submit the job, let `fault` happen once so many rounds are done, and wait for the end."""
        self.all_there()
        job = self.submit(name)
        self.rounds_done(job, after)
        time.sleep(0.3)  # into the next one
        before = time.time()
        at = fault(job)
        outcome = self.outcome(job, at if isinstance(at, float) else before)
        outcome.check()
        return outcome

    def rounds_done(self, job: Job, count: int, seconds: float = 120.0) -> None:
        until(lambda: patiently(lambda: len(job.rounds())) >= count, f"round {count} is done", seconds)

    def outcome(self, job: Job, fault_at: float) -> Outcome:
        until(lambda: patiently(job.now)["status"] in ENDED, "the job ended", ALONE)

        def tested() -> bool:
            rows = patiently(job.rounds)
            return patiently(job.now)["status"] != "completed" or all(row["evaluation"] for row in rows)

        until(tested, "every round is tested", 60)
        parts = [part for row in job.rounds() for part in job.parts(round=row["number"])]
        return Outcome(job.now(), job.rounds(), parts, job.checkpoints(), fault_at, self.reference)

    def kill(self, *words: str) -> float:
        """Kill -9 every process of the platform whose command line has all these words, parents first."""
        found = [p for p in self.platform.processes() if _says(p, words)]
        assert found, f"no process of {words}"
        at = time.time()
        for process in sorted(found, key=lambda p: p.pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(found, timeout=5)
        return at


def _says(process: psutil.Process, words: tuple[str, ...]) -> bool:
    with suppress(psutil.Error):
        line = " ".join(process.cmdline())
        return all(word in line for word in words)
    return False


def patiently(ask: Callable[[], T]) -> T:
    """What a person gets who asks again while the platform is down."""
    give_up = time.monotonic() + ANSWER
    while True:
        try:
            return ask()
        except (httpx.TransportError, httpx.HTTPStatusError) as exc:
            down = isinstance(exc, httpx.TransportError) or exc.response.status_code >= 500
            if not down or time.monotonic() > give_up:
                raise
            time.sleep(0.2)


@contextmanager
def opened(folder: Path, **settings: str) -> Iterator[Cluster]:
    platform = Platform(folder, **settings)
    cluster = Cluster(platform)
    try:
        platform.start()
        platform.admit_people()
        cluster.open()
        yield cluster
    finally:
        cluster.close()
        platform.stop()
