"""The demo's course: people, devices, one job, its rounds, and what came of it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

from fl_server.demo import people, show
from fl_server.demo.api import Api
from fl_server.demo.clients import DemoClient
from fl_server.platform import stack
from fl_server.platform.errors import PlatformError
from fl_server.platform.stopping import Stop
from fl_server.platform.supervisor import Supervisor

DEVICES = 3
PERIOD = 0.25  # seconds between two questions to the API
ONLINE_SECONDS = 60.0
ROUND_SECONDS = 120.0  # the first round includes the start of the run and of three training processes
EVALUATION_SECONDS = 30.0
WORKING = "client-1"  # whose log tells why a round does not end
NAME = "Demo: clothes on three machines"
SPEC = {
    "model": {"name": "lenet"},
    "dataset": {"name": "fashion-mnist", "options": {"source": "sample"}},
    "partition": {"scheme": "dirichlet", "options": {"alpha": 1.0}},
    "strategy": {"name": "fedavg"},
    "rounds": 6,
    "training": {"epochs": 1, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "participation": {"min_devices": DEVICES, "max_devices": DEVICES},
    "metric": {"name": "accuracy", "direction": "maximize"},
    "seed": 42,
}


class Interrupted(Exception):
    """The platform is being stopped."""


class Story:
    """Runs in a thread of its own while the main thread keeps the platform up."""

    def __init__(self, stop: Stop, *, once: bool) -> None:
        self._stop = stop
        self._once = once
        self._began = time.monotonic()
        self.status = 1 if once else 0

    def begin(self, supervisor: Supervisor) -> None:
        threading.Thread(target=self._run, args=(supervisor,), name="story", daemon=True).start()

    def _run(self, supervisor: Supervisor) -> None:
        self.status = 1
        try:
            self._tell(supervisor)
            self.status = 0
        except Interrupted:
            self.status = 1 if self._once else 0
        except PlatformError as exc:
            show.line()
            show.console.print(str(exc), style="red", markup=False, soft_wrap=True)
        finally:
            connections.close_all()
            if self._once or self.status:
                self._stop.set()

    def _tell(self, supervisor: Supervisor) -> None:
        show.good(f"The platform runs at {settings.PUBLIC_URL} ({time.monotonic() - self._began:.0f} s)")
        folder = Path(settings.CONSTELLATION_HOME) / "demo"
        folder.mkdir(mode=0o700, exist_ok=True)
        passwords = self._people(folder / "credentials.json")
        people.let_machines_train()
        show.good("The company's policy lets the machines train while you use this one, even on battery")
        admin = Api(people.ADMIN, passwords[people.ADMIN])
        researcher = Api(people.RESEARCHER, passwords[people.RESEARCHER])
        _end_leftovers(researcher)
        self._devices(supervisor, admin, folder)
        started = time.monotonic()
        job = researcher.post("jobs", {"name": NAME, "spec": SPEC})
        show.good(f"Job {job['id']} is queued; watch it live at {settings.PUBLIC_URL}/jobs/{job['id']}/")
        self._rounds(supervisor, researcher, job["id"])
        self._conclude(researcher, job["id"], time.monotonic() - started)

    def _people(self, path: Path) -> dict[str, str]:
        passwords, fresh = people.ensure(path)
        if fresh:
            for name, password in passwords.items():
                show.line(f"  log in as [bold]{name}[/] with the password [bold]{password}[/]")
            show.line(f"  (also in {path})")
        else:
            show.line(f"  the passwords of admin and researcher are in {path}")
        return passwords

    def _devices(self, supervisor: Supervisor, admin: Api, folder: Path) -> None:
        clients = [DemoClient(number, folder) for number in range(1, DEVICES + 1)]
        with ThreadPoolExecutor(DEVICES) as pool:
            enrolled = list(pool.map(DemoClient.is_enrolled, clients))
            new = [client for client, known in zip(clients, enrolled, strict=True) if not known]
            if new:
                body = {"label": "Demo machines", "max_uses": len(new), "valid_hours": 1, "approves": True}
                code = admin.post("enrolment/codes", body)["code"]
                list(pool.map(lambda client: client.enrol(code), new))
                show.good(f"{len(new)} machines joined with one group code")
        for client in clients:
            supervisor.add(client.service())
        names = {client.name for client in clients}

        def online() -> bool:
            rows = admin.rows("devices", status="approved")
            return names <= {row["name"] for row in rows if row["presence"] in ("idle", "training")}

        late = clients[0].name
        self._until(online, ONLINE_SECONDS, "The machines did not come online", late, supervisor)
        show.good(f"{DEVICES} machines are online and idle")

    def _rounds(self, supervisor: Supervisor, api: Api, job: int) -> None:
        show.head()
        shown = 0
        deadline = time.monotonic() + ROUND_SECONDS
        while True:
            status = api.get(f"jobs/{job}")
            rows = sorted(api.rows(f"jobs/{job}/rounds"), key=lambda row: row["number"])
            for row in rows[shown:]:
                # The server tests a round's model while the next one trains.
                if not row["evaluation"] and row is rows[-1]:
                    break
                show.round_row(row)
                shown += 1
                deadline = time.monotonic() + ROUND_SECONDS
            if status["status"] in ("failed", "cancelled"):
                raise self._failure(f"The job {status['status']}: {status['reason']}", WORKING, supervisor)
            if status["status"] == "completed" and shown == len(rows):
                return
            if time.monotonic() > deadline:
                sentence = f"Nothing new for {ROUND_SECONDS:.0f} s: {_standstill(api, status)}"
                raise self._failure(sentence, WORKING, supervisor)
            self._pause()

    def _conclude(self, api: Api, job: int, seconds: float) -> None:
        rows = sorted(api.rows(f"jobs/{job}/rounds"), key=lambda row: row["number"])
        checkpoints = {row["round"]: row["metrics"] for row in api.rows(f"jobs/{job}/checkpoints")}
        before = checkpoints.get(0, {}).get("accuracy")
        after = rows[-1]["evaluation"].get("accuracy")
        show.summary(
            [
                ("rounds", str(len(rows))),
                ("devices", str(max(row["accepted"] for row in rows))),
                ("accuracy before", show.percent(before)),
                ("accuracy after", show.percent(after)),
                ("seconds", f"{seconds:.1f} from submission, {self._median(rows):.2f} a round (median)"),
                ("sent to devices", show.size(sum(row["bytes_down"] for row in rows))),
                ("sent by devices", show.size(sum(row["bytes_up"] for row in rows))),
                ("whole demo", f"{time.monotonic() - self._began:.0f} s"),
            ]
        )
        if before is None or after is None or after <= before:
            raise PlatformError("The model did not get better, which it should have.")
        if not self._once:
            show.line(f"Everything still runs; open {settings.PUBLIC_URL}, or press Ctrl-C to end it.")

    def _median(self, rows: list[dict[str, Any]]) -> float:
        seconds = sorted(row["seconds"] for row in rows)
        return float(seconds[len(seconds) // 2])

    def _until(
        self, condition: Callable[[], bool], patience: float, complaint: str, log: str, supervisor: Supervisor
    ) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise self._failure(f"{complaint} within {patience:.0f} s", log, supervisor)
            self._pause()

    def _pause(self) -> None:
        if self._stop.wait(PERIOD):
            raise Interrupted

    def _failure(self, sentence: str, log: str, supervisor: Supervisor) -> PlatformError:
        return stack.failure(sentence.rstrip("."), log, supervisor.tail(log))


def _end_leftovers(api: Api) -> None:
    """Jobs that an interrupted demo left would take the devices first."""
    for status in ("queued", "running"):
        for job in api.rows("jobs", status=status, owner=people.RESEARCHER, name=NAME):
            api.post(f"jobs/{job['id']}/cancel", {})


def _standstill(api: Api, job: dict[str, Any]) -> str:
    """What a job that does not go on waits for."""
    if job["waiting"].get("sentence"):
        return str(job["waiting"]["sentence"])
    number = job["headline"]["rounds_done"] + 1
    parts = api.rows(f"jobs/{job['id']}/participations", round=number)
    devices = ", ".join(f"{part['device_name']} {part['status']}" for part in parts)
    return f"round {number} did not end ({devices or 'not yet begun'})"
