"""Things die, are taken away or come back, while jobs run.

The order saves time: what keeps the workers warm comes first, what needs a code to expire comes last.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fl_client.home import Home
from fl_client.identity import Identity
from tests.e2e.api import ADMIN, BOTH, WARMED_UP, Api, Job, until
from tests.e2e.platform import DESKS, Client, Platform, kill

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
ONE, TWO = DESKS
THREE = "desk-3"
EXPIRES_AFTER = 0.01  # hours; the shortest that may be asked for
PATIENCE = 15.0  # seconds that a round waits for a device that is away


@dataclass
class World:
    platform: Platform
    admin: Api
    expiring: dict[str, Any]

    def client(self, name: str) -> Client:
        return next(client for client in self.platform.clients if client.name == name)

    def device(self, name: str) -> str:
        found: str = self.admin.rows("devices", name=name)[0]["id"]
        return found


@pytest.fixture(scope="module")
def world(platform: Platform) -> World:
    admin = platform.login(ADMIN)
    # Issued first and tried last: it has expired by then.
    return World(platform, admin, admin.code(label="Short", valid_hours=EXPIRES_AFTER))


@pytest.fixture
def desks(world: World) -> Iterator[World]:
    """Both machines are on and have nothing to do; what a failed test leaves running is cancelled."""
    for name in (ONE, TWO):
        client = world.client(name)
        if client.agent is None or client.agent.poll() is not None:
            client.start()
    world.platform.online(world.admin, ONE, TWO, seconds=30)
    yield world
    for row in world.admin.rows("jobs", status="running"):
        world.admin.post(f"jobs/{row['id']}/cancel")


def test_a_job_survives_the_death_of_the_superlink(desks: World) -> None:
    job = desks.admin.job("No engine", rounds=2, participation=BOTH)
    until(lambda: len(job.rounds()) == 1, "round 1 is done", WARMED_UP)
    before = desks.platform.services("fl_server.flower.superlink")
    assert len(before) == 1
    kill(before)
    job.completed(120)
    assert [(row["number"], row["accepted"]) for row in job.rounds()] == [(1, 2), (2, 2)]
    after = desks.platform.services("fl_server.flower.superlink")
    assert len(after) == 1
    assert after != before


def test_a_run_whose_serverapp_was_killed_is_taken_up_at_the_next_round(desks: World) -> None:
    job = desks.admin.job("Headless", rounds=2, participation=BOTH)
    until(lambda: len(job.rounds()) == 1, "round 1 is done", WARMED_UP)
    kill(desks.platform.services("flwr-serverapp"))
    job.completed()
    rounds = job.rounds()
    assert [(row["number"], row["run"]) for row in rounds] == [(1, 1), (2, 2)]
    assert set(job.checkpoints()) == {0, 1, 2}


def test_a_killed_client_costs_a_round_its_patience_and_the_job_nothing(desks: World) -> None:
    job = desks.admin.job("Power cut", rounds=2)
    until(lambda: job.trained_by(ONE) == 1, f"{ONE} trains", WARMED_UP)
    desks.client(ONE).kill()
    job.completed()
    first, second = job.rounds()
    assert PATIENCE - 5 < first["seconds"] < PATIENCE + 20
    assert (first["accepted"], second["accepted"]) == (1, 1)
    lost = job.parts(round=1, status="lost")
    assert [(part["device_name"], part["reason_code"]) for part in lost] == [(ONE, "lost")]
    assert "away" in lost[0]["reason"]
    assert [part["device_name"] for part in job.parts(round=2)] == [TWO]


def test_a_restarted_client_takes_part_again_and_a_new_worker_trains_the_round_again(desks: World) -> None:
    job = desks.admin.job("Restarts", rounds=1000)
    number = until(lambda: trained_by_both(job), "both train", WARMED_UP)
    worker = desks.client(TWO).worker()
    assert worker is not None
    kill([worker])
    desks.client(ONE).kill()
    desks.client(ONE).start()
    mine = {"device": desks.device(ONE), "status": "accepted"}
    until(lambda: any(part["round"] >= number for part in job.parts(**mine)), f"{ONE} is back", WARMED_UP)
    until(lambda: job.rounds()[-1]["number"] > number, "the next round", WARMED_UP)
    desks.admin.post(f"jobs/{job.number}/cancel")
    parts = [(part["round"], part["device_name"]) for part in job.parts()]
    assert len(parts) == len(set(parts))
    retrained = job.parts(round=number, device=desks.device(TWO))
    assert [(part["status"], part["attempts"]) for part in retrained] == [("accepted", 1)]
    numbers = [row["number"] for row in job.rounds()]
    assert numbers == list(range(1, len(numbers) + 1))


def trained_by_both(job: Job) -> int:
    first, second = job.trained_by(ONE), job.trained_by(TWO)
    return first if first and first == second else 0


def test_a_stopped_client_is_offline_and_a_started_one_idle_within_seconds(desks: World) -> None:
    desks.client(ONE).stop()
    offline = {"name": ONE, "presence": "offline"}
    until(lambda: desks.admin.rows("devices", **offline), f"{ONE} is offline", 5)
    desks.client(ONE).start()
    desks.platform.online(desks.admin, ONE, seconds=10)


def test_a_revoked_device_is_cut_off_at_once(world: World) -> None:
    code = world.admin.code(max_uses=1)["code"]
    client = world.platform.client(THREE)
    client.enrol(code)
    client.start()
    world.platform.online(world.admin, THREE)
    home = Home(client.folder)
    with closing(node_of(home, world.platform)) as node:
        until(lambda: home.enrolled().node_id, "the engine knows the node")
        mine = Node(node_id=int(home.enrolled().node_id))
        beat = SendNodeHeartbeatRequest(node=mine, heartbeat_interval=30.0)
        node.SendNodeHeartbeat(beat)
        node.PullMessages(PullMessagesRequest(node=mine))
        revoked = time.monotonic()
        world.admin.post(f"devices/{world.device(THREE)}/revoke", {"reason": "stolen"})
        assert client.agent is not None
        assert client.agent.wait(5) == 6
        assert "stolen" in client.log.read_text()
        until(lambda: refused(lambda: node.SendNodeHeartbeat(beat)), "its heartbeat is refused", 5)
        assert refused(lambda: node.PullMessages(PullMessagesRequest(node=mine)))
        assert time.monotonic() - revoked < 8
    assert client.call("run")[0] == 6
    assert client.call("status")[0] == 6


def node_of(home: Home, platform: Platform) -> FleetHttpClient:
    """The revoked device's node as a thief would go on using it, through the gateway."""
    key = Identity.load(home).node_key
    steps = [
        RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        NodeAuthHttpInterceptor(key, key.public_key()),
    ]
    return FleetHttpClient.from_server_address(
        f"{platform.host}:{platform.port}", True, None, interceptors=steps
    )


def refused(call: Any) -> bool:
    try:
        call()
    except httpx.HTTPStatusError as exc:
        return exc.response.status_code == 401
    return False


def test_a_code_that_does_not_hold_is_refused_with_a_sentence(world: World) -> None:
    until(lambda: code_state(world, world.expiring["id"]) == "expired", "the short code expired", 40)
    used, revoked, unknown = (world.admin.code(max_uses=1) for _ in range(3))
    world.platform.client("desk-4").enrol(used["code"])
    world.admin.post(f"enrolment/codes/{revoked['id']}/revoke")
    cases = {
        "expired on": [world.expiring["code"]],
        "all it allows": [used["code"]],
        "was revoked": [revoked["code"]],
        "does not exist": ["no-such-secret", "--url", world.platform.url],
    }
    machines = {sentence: world.platform.client(f"late-{number}") for number, sentence in enumerate(cases)}
    tries = {sentence: machines[sentence].begin("enrol", *code) for sentence, code in cases.items()}
    for sentence, process in tries.items():
        _, complaint = process.communicate(timeout=40)
        assert process.returncode == 3, complaint
        assert sentence in complaint
        assert "Traceback" not in complaint
    assert code_state(world, unknown["id"]) == "open"
    assert not world.admin.rows("devices", name="late-")


def code_state(world: World, number: int) -> str:
    state: str = world.admin.get(f"enrolment/codes/{number}")["state"]
    return state
