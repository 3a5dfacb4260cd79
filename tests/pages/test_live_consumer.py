"""The browser's socket: who may listen to what, what arrives, and what ends it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.test import Client

from constellation_web.asgi import application
from fl_server import events
from fl_server.consumers import live
from fl_server.models import TrainingJob
from fl_server.services import notifications
from tests.server.world import World
from tests.sockets import Socket

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


def logged_in(user: Any) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def socket_for(client: Client, topic: str, origin: str = "http://localhost") -> Socket:
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    headers = {"origin": origin, "host": "localhost"}
    if cookie:
        headers["cookie"] = f"{settings.SESSION_COOKIE_NAME}={cookie.value}"
    return Socket(application, f"/ws/live/{topic}/", headers)


@asynccontextmanager
async def listening(client: Client, topic: str) -> AsyncIterator[Socket]:
    socket = socket_for(client, topic)
    await socket.open()
    try:
        yield socket
    finally:
        await socket.leave()


async def outcome(client: Client, topic: str) -> int:
    """0 when the socket stays open, else its close code."""
    async with listening(client, topic) as socket:
        first = await socket.receive_output(2)
        return first["code"] if first["type"] == "websocket.close" else 0


async def closing(socket: Socket) -> int:
    """Read until the server closes."""
    while True:
        output = await socket.receive_output(2)
        if output["type"] == "websocket.close":
            return int(output["code"])


async def tell(publish: Callable[..., None], *args: Any, **facts: Any) -> None:
    await sync_to_async(publish)(*args, **facts)


TOPICS = {
    "": {"jobs": 4401, "job": 4401, "devices": 4401, "me": 4401},
    "outsider": {"jobs": 4403, "job": 4403, "devices": 4403, "me": 4403},
    "owner": {"jobs": 4403, "job": 4403, "devices": 0, "me": 0},
    "viewer": {"jobs": 0, "job": 0, "devices": 0, "me": 0},
    "researcher": {"jobs": 0, "job": 0, "devices": 0, "me": 0},
    "admin": {"jobs": 0, "job": 0, "devices": 0, "me": 0},
}


@pytest.mark.parametrize("person", TOPICS)
def test_each_person_may_listen_to_what_the_table_says(world: World, person: str) -> None:
    client = logged_in(world.people.get(person))

    async def check() -> dict[str, int]:
        names = {"jobs": "jobs", "job": f"job-{world.running.pk}", "devices": "devices", "me": "me"}
        return {name: await outcome(client, topic) for name, topic in names.items()}

    assert asyncio.run(check()) == TOPICS[person]


@pytest.mark.parametrize(
    "topic", ["job-999999", "job-", "job-x", "job-1e3", "fleet", "job-" + "9" * 30, "run-1"]
)
def test_an_unknown_topic_is_closed(world: World, topic: str) -> None:
    assert asyncio.run(outcome(logged_in(world.admin), topic)) == live.NO_TOPIC


def test_a_foreign_origin_is_refused(world: World) -> None:
    client = logged_in(world.admin)

    async def check() -> None:
        await socket_for(client, "jobs", "http://evil.example").open()

    with pytest.raises(AssertionError, match=r"websocket\.close"):
        asyncio.run(check())


@pytest.mark.parametrize("topic", ["me", "devices"])
def test_the_bell_rings_on_every_live_page_of_the_person_and_nobody_else(world: World, topic: str) -> None:
    mine, another = logged_in(world.owner), logged_in(world.admin)

    async def check() -> list[dict[str, Any]]:
        async with listening(mine, topic) as socket, listening(another, topic) as other:
            first = await socket.hear()
            await other.hear()
            await tell(notifications.tell, world.owner, "alert", "Hot", fact="1")
            second = await socket.hear()
            assert await socket.receive_nothing(0.2)
            assert await other.receive_nothing(0.1)
            return [first, second]

    first, second = asyncio.run(check())
    assert (first["event"], first["unread"]) == ("hello", 0)
    assert second == {"event": "notification", "unread": 1}


def test_a_job_s_events_arrive_in_order_on_its_topic_and_no_other(world: World) -> None:
    client = logged_in(world.viewer)

    async def check() -> list[dict[str, Any]]:
        async with listening(client, f"job-{world.running.pk}") as socket:
            await socket.hear()
            await tell(events.job_changed, world.foreign.pk, status="running")
            await tell(events.round_committed, world.running.pk, number=3, metrics={"train-loss": 0.5})
            await tell(events.round_evaluated, world.running.pk, 3, {"accuracy": 0.7})
            got = [await socket.hear() for _ in range(2)]
            assert await socket.receive_nothing(0.2)
            return got

    got = asyncio.run(check())
    assert [event["event"] for event in got] == ["round", "evaluation"]
    assert got[0]["metrics"] == {"train-loss": 0.5}


def test_an_owner_hears_only_of_the_own_devices(world: World) -> None:
    client = logged_in(world.owner)

    async def check() -> dict[str, Any]:
        async with listening(client, "devices") as socket:
            await socket.hear()
            foreign = world.foreign_device
            await tell(events.device_changed, foreign.pk, foreign.owner_id, presence="idle")
            await tell(events.device_changed, world.training.pk, world.owner.pk, presence="paused")
            got = await socket.hear()
            assert await socket.receive_nothing(0.2)
            return got

    assert asyncio.run(check())["device"] == str(world.training.pk)


def test_a_thousand_batches_a_second_reach_the_page_a_few_times_a_second_with_the_last_one(
    world: World,
) -> None:
    client, device = logged_in(world.viewer), str(world.training.pk)
    layer_message = {"type": "live.event"}

    async def check() -> list[dict[str, Any]]:
        async with listening(client, f"job-{world.running.pk}") as socket:
            await socket.hear()
            layer, got = get_channel_layer(), []
            for batch in range(1, 301):
                payload = {
                    "event": "participation",
                    "device": device,
                    "round": 3,
                    "status": "training",
                    "batch": batch,
                }
                await layer.group_send(
                    events.job_group(world.running.pk),
                    {**layer_message, "payload": {**payload, "batches": 300}},
                )
            while not got or got[-1]["batch"] < 300:
                got.append(await socket.hear())
            return got

    got = asyncio.run(check())
    assert got[-1]["batch"] == 300
    assert len(got) < 30


def test_progress_is_merged_within_a_round_and_not_across_rounds() -> None:
    outbox = live.Outbox()
    part = {"event": "participation", "device": "d", "round": 1}
    outbox.put({**part, "status": "training", "batch": 3})
    outbox.put({**part, "status": "accepted", "reason": ""})
    outbox.put({"event": "round", "number": 1})
    assert [taken.get("batch") for taken in outbox.take()] == [None, 3]
    outbox.put({**part, "status": "training", "batch": 3})
    outbox.put({**part, "round": 2, "status": "selected"})
    assert outbox.take() == [{**part, "round": 2, "status": "selected"}]
    assert len(outbox) == 0


def test_a_page_that_does_not_keep_up_is_closed_and_not_remembered_without_bound(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_WAITING", 5)
    monkeypatch.setattr(live, "DRAW_SECONDS", 30)
    client = logged_in(world.viewer)

    async def check() -> int:
        async with listening(client, "jobs") as socket:
            await socket.hear()
            for _ in range(20):
                await get_channel_layer().group_send(
                    events.JOBS, {"type": "live.event", "payload": {"event": "job", "job": 1}}
                )
            return await closing(socket)

    assert asyncio.run(check()) == live.TOO_SLOW


@pytest.mark.parametrize(
    ("lost", "code"), [("role", 4403), ("account", 4401), ("session", 4401), ("job", 4404)]
)
def test_what_a_person_loses_ends_the_socket_at_the_next_check(
    world: World, monkeypatch: pytest.MonkeyPatch, lost: str, code: int
) -> None:
    monkeypatch.setattr(live, "RECHECK_SECONDS", 0.2)
    client = logged_in(world.viewer)
    lose = {
        "role": lambda: world.viewer.groups.clear(),
        "account": lambda: type(world.viewer).objects.filter(pk=world.viewer.pk).update(is_active=False),
        "session": client.logout,
        "job": lambda: TrainingJob.objects.filter(pk=world.foreign.pk).delete(),
    }[lost]

    async def check() -> int:
        async with listening(client, f"job-{world.foreign.pk}") as socket:
            await socket.hear()
            await sync_to_async(lose)()
            return await closing(socket)

    assert asyncio.run(check()) == code


def test_a_changed_role_is_noticed_at_once_when_told(world: World) -> None:
    client = logged_in(world.viewer)

    async def check() -> int:
        async with listening(client, "devices") as socket:
            await socket.hear()
            await sync_to_async(world.viewer.groups.clear)()
            await get_channel_layer().group_send(events.user_group(world.viewer.pk), {"type": "live.recheck"})
            return await closing(socket)

    assert asyncio.run(check()) == live.NOT_ALLOWED


def test_what_a_page_sends_is_ignored(world: World) -> None:
    client = logged_in(world.viewer)

    async def check() -> dict[str, Any]:
        async with listening(client, "jobs") as socket:
            await socket.hear()
            await socket.say("{not json")
            await socket.say_bytes(b"\x00" * 100)
            await tell(events.job_changed, world.running.pk, status="completed")
            return await socket.hear()

    assert asyncio.run(check())["status"] == "completed"
