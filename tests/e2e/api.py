"""What a person does over the REST API, and waiting for what comes of it."""

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from tests import waiting

PERIOD = 0.1  # seconds between two looks; each costs the platform a request
WARMED_UP = 90.0  # seconds that two busy cores may take for a run's first round
ADMIN, RESEARCHER = "ada", "rosa"
PASSWORD = "open-clusters-7"
SPEC = {
    "model": {"name": "lenet"},
    "dataset": {"name": "fashion-mnist", "options": {"source": "sample"}},
    "rounds": 2,
    "training": {"batch_size": 32, "learning_rate": 0.05, "momentum": 0.9},
    "participation": {"min_devices": 2, "max_devices": 2},
    "metric": {"name": "accuracy", "direction": "maximize"},
    "seed": 7,
}
# A round waits for both, however slow one of them starts.
BOTH = {"min_devices": 2, "max_devices": 2, "quorum": 2}
ENDED = ("completed", "failed", "cancelled")
T = TypeVar("T")


def until(fact: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    return waiting.until(fact, what, seconds, PERIOD)


class Api:
    """The REST API with one person's token."""

    def __init__(self, url: str, verify: ssl.SSLContext | bool, user: str) -> None:
        self.http = httpx.Client(base_url=url, verify=verify, timeout=20)
        body = {"username": user, "password": PASSWORD}
        token = self.http.post("/api/v1/auth/token", json=body).raise_for_status().json()["access"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(f"/api/v1/{path}", params=query).raise_for_status().json()

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(path, page_size=100, **query)["results"]
        return found

    def post(self, path: str, body: Any = None) -> Any:
        return self.http.post(f"/api/v1/{path}", json=body or {}).raise_for_status().json()

    def refused(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        answer = self.http.post(f"/api/v1/{path}", json=body)
        assert answer.is_client_error, answer.text
        return answer.status_code, answer.json()["error"]

    def code(self, **changes: Any) -> dict[str, Any]:
        wanted = {"label": "Desks", "max_uses": 10, "valid_hours": 1, "approves": True}
        issued: dict[str, Any] = self.post("enrolment/codes", wanted | changes)
        return issued

    def job(self, name: str, **changes: Any) -> "Job":
        return Job(self, self.post("jobs", {"name": name, "spec": SPEC | changes})["id"])


class Job:
    def __init__(self, api: Api, number: int) -> None:
        self.api, self.number = api, number

    def now(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"jobs/{self.number}")
        return found

    def rounds(self) -> list[dict[str, Any]]:
        return sorted(self.api.rows(f"jobs/{self.number}/rounds"), key=lambda row: row["number"])

    def parts(self, **query: Any) -> list[dict[str, Any]]:
        return self.api.rows(f"jobs/{self.number}/participations", **query)

    def checkpoints(self) -> dict[int, dict[str, Any]]:
        return {row["round"]: row for row in self.api.rows(f"jobs/{self.number}/checkpoints")}

    def trained_by(self, name: str) -> int | None:
        """The round that the device of that name trains right now."""
        parts = self.parts(status="training")
        return next((part["round"] for part in parts if part["device_name"] == name), None)

    def ended(self, seconds: float = WARMED_UP) -> dict[str, Any]:
        until(lambda: self.now()["status"] in ENDED, "the job ended", seconds)
        return self.now()

    def completed(self, seconds: float = WARMED_UP) -> None:
        end = self.ended(seconds)
        assert end["status"] == "completed", (end["reason"], self.parts())
