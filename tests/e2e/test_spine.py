"""One job from a researcher's log-in to a model that loads, and what people see of it meanwhile."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import torch
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fl_client import models, weights
from tests.e2e.api import BOTH, PASSWORD, RESEARCHER, SPEC, WARMED_UP, Api, Job, until
from tests.e2e.platform import DESKS, Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
ROUNDS = 2


class LivePage:
    """What an open page of a job hears, from log-in to the last event."""

    def __init__(self, platform: Platform, topic: str) -> None:
        self.events: list[dict[str, Any]] = []
        browser = httpx.Client(base_url=platform.url, follow_redirects=True)
        browser.get("/login/")
        form = {
            "username": RESEARCHER,
            "password": PASSWORD,
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        browser.post("/login/", data=form, headers={"Referer": platform.url}).raise_for_status()
        cookie = f"sessionid={browser.cookies['sessionid']}"
        address = f"ws://{platform.host}:{platform.port}/ws/live/{topic}/"
        self._socket = connect(address, additional_headers={"Cookie": cookie, "Origin": platform.url})
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for text in self._socket:
                self.events.append(json.loads(text))
        except ConnectionClosed:
            return

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)


@dataclass
class Trained:
    job: Job
    page: LivePage
    rounds: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def researcher(platform: Platform) -> Api:
    return platform.login(RESEARCHER)


@pytest.fixture(scope="module")
def trained(platform: Platform, researcher: Api) -> Iterator[Trained]:
    spec = SPEC | {"rounds": ROUNDS, "participation": BOTH}
    draft = researcher.post("jobs", {"name": "Clothes", "spec": spec, "submit": False})
    made = Trained(Job(researcher, draft["id"]), LivePage(platform, f"job-{draft['id']}"))
    until(lambda: made.page.of("hello"), "the page is connected")
    researcher.post(f"jobs/{draft['id']}/submit")
    made.job.completed()
    until(lambda: made.job.rounds()[-1]["evaluation"], "the last model was tested")
    made.rounds = made.job.rounds()
    yield made
    made.page.close()


def test_every_round_is_there_once_with_all_devices_and_all_rows(trained: Trained) -> None:
    assert [row["number"] for row in trained.rounds] == list(range(1, ROUNDS + 1))
    for row in trained.rounds:
        assert (row["accepted"], row["rejected"], row["examples"], row["run"]) == (2, 0, 8000, 1)


def test_the_model_gets_better(trained: Trained) -> None:
    before = trained.job.checkpoints()[0]["metrics"]
    after = trained.rounds[-1]["evaluation"]
    assert before["accuracy"] < 0.3 < 0.6 < after["accuracy"]
    assert after["loss"] < before["loss"]
    assert trained.rounds[-1]["metrics"]["train-loss"] < trained.rounds[0]["metrics"]["train-loss"]


def test_each_device_took_part_once_in_each_round(trained: Trained) -> None:
    parts = trained.job.parts()
    assert {(part["round"], part["device_name"]) for part in parts} == {
        (number, name) for number in range(1, ROUNDS + 1) for name in DESKS
    }
    assert len(parts) == ROUNDS * len(DESKS)
    for part in parts:
        assert (part["status"], part["attempts"], part["examples"]) == ("accepted", 1, 4000)
        assert part["bytes_up"] > 4 * 44_426


def test_the_jobs_memory_was_estimated_before_it_started(trained: Trained) -> None:
    assert 400_000_000 < trained.job.now()["memory_bytes"] < 1_000_000_000
    assert "memory-unknown" not in {
        event["code"] for event in trained.job.api.rows(f"jobs/{trained.job.number}/events")
    }


def test_a_round_tells_how_fast_its_devices_and_their_network_are(researcher: Api, trained: Trained) -> None:
    def measured() -> list[dict[str, Any]]:
        found = [device for device in researcher.rows("devices") if device["name"] in DESKS]
        return [device for device in found if device["relative_speed"] and device["network_bytes_a_second"]]

    until(lambda: len(measured()) == len(DESKS), "both devices were measured", 10)
    assert all(0.05 < device["relative_speed"] < 2 for device in measured())


def test_a_dry_run_knows_what_was_learned(researcher: Api, trained: Trained) -> None:
    answer = researcher.post("jobs/dry-run", trained.job.now()["spec"])
    assert (answer["starts"], answer["fit_now"], answer["memory"]) == ("now", len(DESKS), "estimated")
    assert answer["expected_seconds"] > 0


def test_the_best_checkpoint_loads_into_the_client_s_model(researcher: Api, trained: Trained) -> None:
    checkpoints = trained.job.checkpoints()
    assert set(checkpoints) == set(range(ROUNDS + 1))
    best = max(checkpoints.values(), key=lambda row: row["metrics"]["accuracy"])
    assert best["best"]
    assert trained.job.now()["best_checkpoint"] == best["id"]
    data = researcher.http.get(best["download"]).raise_for_status().content
    assert len(data) == best["size"]
    module = models.build("lenet", {}, seed=0)
    models.load_weights(module, weights.unpack(data))
    torch.set_num_threads(1)
    assert module(torch.zeros(1, 1, 28, 28)).isfinite().all()


def test_an_open_page_heard_every_round_as_it_happened(trained: Trained) -> None:
    heard = trained.page.of("round")
    assert [(event["job"], event["number"]) for event in heard] == [
        (trained.job.number, number) for number in range(1, ROUNDS + 1)
    ]
    tested = set(range(1, ROUNDS + 1))
    until(
        lambda: tested <= {event["number"] for event in trained.page.of("evaluation")}, "every evaluation", 5
    )
    assert {event["device_name"] for event in trained.page.of("participation")} == set(DESKS)
    assert [event["status"] for event in trained.page.of("job") if "status" in event][-1] == "completed"


@pytest.mark.parametrize(
    ("change", "named", "allowed"),
    [
        ({"model": {"name": "lenett"}}, "model", "lenet"),
        ({"rounds": 0}, "rounds", "1"),
        ({"strategy": {"name": "fedsgd"}}, "strategy", "fedavg"),
        ({"participation": {"min_devices": 3, "max_devices": 2}}, "participation", "at least min_devices, 3"),
        ({"colour": "blue"}, "colour", ""),
    ],
)
def test_a_wrong_specification_is_refused_with_the_field_and_what_is_allowed(
    researcher: Api, change: dict[str, Any], named: str, allowed: str
) -> None:
    status, error = researcher.refused("jobs", {"name": "Wrong", "spec": SPEC | change})
    assert (status, error["code"], error["field"]) == (400, "invalid-spec", named)
    assert allowed in error["errors"][0]["message"]


def test_a_stranger_is_refused_everywhere(platform: Platform) -> None:
    for path in ("jobs", "devices", "status", "enrolment/codes"):
        assert httpx.get(f"{platform.url}/api/v1/{path}").status_code == 401


def test_a_cancelled_job_ends_within_seconds_and_frees_its_devices(
    platform: Platform, researcher: Api
) -> None:
    job = researcher.job("Endless", rounds=1000)
    until(lambda: job.trained_by("desk-1"), "a round trains", WARMED_UP)
    researcher.post(f"jobs/{job.number}/cancel")
    assert job.now()["status"] == "cancelled"
    platform.online(researcher, *DESKS, seconds=10)
    assert researcher.get("status")["active_runs"] == 0
    until(lambda: not platform.services("flwr-serverapp"), "the process that led the run is gone", 15)
    assert {part["status"] for part in job.parts()} <= {"accepted", "lost"}
