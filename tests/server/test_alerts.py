"""High use that lasts: when it begins, when it ends, and who hears of it."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fl_server import bus, events
from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.models import Alert, AlertRule, AuditEvent, Device, Notification, TelemetryBucket
from fl_server.selectors import usage
from fl_server.services import alert_rules, alerts
from tests.server.world import World, client, device

pytestmark = [pytest.mark.services, pytest.mark.django_db]

NOON = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
GB = 1_000_000_000


@pytest.fixture
def rule(db: None) -> AlertRule:
    return AlertRule.objects.create(metric="cpu", threshold=90, clear_below=80, minutes=5)


def measured(machine: Device, *cpu: float, now: datetime = NOON, **means: float) -> None:
    """One row for each of the last minutes before `now`, the newest last."""
    newest = now.replace(second=0) - timedelta(minutes=1)
    for back, value in enumerate(reversed(cpu)):
        numbers = {"cpu": value, **means}
        TelemetryBucket.objects.create(
            device=machine,
            start=newest - timedelta(minutes=back),
            span=TelemetryBucket.Span.MINUTE,
            count=12,
            means=numbers,
            highest=numbers,
            lowest=numbers,
        )


def minutes_later(machine: Device, count: int, cpu: float) -> tuple[int, int]:
    """One more minute, `count` minutes after noon."""
    now = NOON + timedelta(minutes=count)
    measured(machine, cpu, now=now)
    return alerts.evaluate(now)


def titles(user: Any) -> list[str]:
    return [notice.title for notice in Notification.objects.filter(user=user).order_by("pk")]


@pytest.mark.parametrize(
    ("minutes", "begins"),
    [
        ((95, 95, 95, 95, 95), True),
        ((10, 90, 95, 99, 95, 92), True),
        ((95, 95, 95, 95), True),  # one may be missing
        ((95, 95, 95), False),
        ((95, 95, 89, 95, 95), False),
        ((95, 95, 95, 95, 50), False),
    ],
)
def test_an_alert_begins_when_the_use_stayed_high_for_so_long(
    world: World, rule: AlertRule, minutes: tuple[float, ...], begins: bool
) -> None:
    measured(world.training, *minutes)
    assert alerts.evaluate(NOON) == (int(begins), 0)
    assert Alert.objects.filter(device=world.training, cleared_at=None).count() == begins


def test_it_began_when_the_use_became_high_and_keeps_the_highest(world: World, rule: AlertRule) -> None:
    measured(world.training, 91, 97, 93, 92, 95)
    alerts.evaluate(NOON)
    alert = Alert.objects.get()
    assert alert.began_at == datetime(2026, 5, 4, 11, 55, tzinfo=UTC)
    assert alert.value == 97
    minutes_later(world.training, 1, 99)
    alert.refresh_from_db()
    assert alert.value == 99


def test_between_the_two_marks_it_goes_on_and_below_the_lower_one_it_ends(
    world: World, rule: AlertRule
) -> None:
    measured(world.training, *[95] * 5)
    assert alerts.evaluate(NOON) == (1, 0)
    assert alerts.evaluate(NOON) == (0, 0)
    assert minutes_later(world.training, 1, 85) == (0, 0)
    assert minutes_later(world.training, 2, 80) == (0, 0)
    assert minutes_later(world.training, 3, 79) == (0, 1)
    assert Alert.objects.get().cleared_at == NOON + timedelta(minutes=3)
    assert minutes_later(world.training, 4, 95) == (0, 0)


def test_it_ends_when_the_device_is_no_longer_heard_of(world: World, rule: AlertRule) -> None:
    measured(world.training, *[95] * 5)
    alerts.evaluate(NOON)
    assert alerts.evaluate(NOON + timedelta(minutes=1)) == (0, 0)
    assert alerts.evaluate(NOON + timedelta(minutes=5)) == (0, 1)
    assert "no longer heard of" in titles(world.owner)[-1]


def test_it_ends_with_the_device_and_with_its_rule(world: World, rule: AlertRule) -> None:
    measured(world.training, *[95] * 5)
    alerts.evaluate(NOON)
    AlertRule.objects.update(enabled=False)
    assert alerts.evaluate(NOON) == (0, 1)
    AlertRule.objects.update(enabled=True)
    assert alerts.evaluate(NOON) == (1, 0)
    Device.objects.filter(pk=world.training.pk).update(status=Device.Status.REVOKED)
    assert alerts.evaluate(NOON) == (0, 1)


def test_owner_and_admins_are_told_of_beginning_and_end_and_nobody_else(
    world: World, rule: AlertRule
) -> None:
    measured(world.training, *[95] * 5)
    alerts.evaluate(NOON)
    minutes_later(world.training, 1, 20)
    told = ["otto-desk: CPU at 95 % for 5 min", "otto-desk: CPU is at 20 % again"]
    assert titles(world.owner) == titles(world.admin) == told
    assert Notification.objects.count() == 4


def test_two_workers_that_look_at_the_same_minutes_tell_once(world: World, rule: AlertRule) -> None:
    measured(world.training, *[95] * 5)
    alerts.evaluate(NOON)
    Alert.objects.all().delete()
    alerts.evaluate(NOON)
    assert titles(world.owner) == ["otto-desk: CPU at 95 % for 5 min"]


def test_an_admin_gets_one_notification_for_many_alerts_and_each_owner_the_own(
    world: World, rule: AlertRule
) -> None:
    for number in range(8):
        measured(device(world.owner if number < 2 else world.viewer, f"d{number}"), *[95] * 5)
    assert alerts.evaluate(NOON) == (8, 0)
    assert titles(world.admin) == ["8 alerts have begun"]
    assert "d7: CPU at 95 %" in Notification.objects.get(user=world.admin).text
    assert titles(world.owner) == ["d0: CPU at 95 % for 5 min", "d1: CPU at 95 % for 5 min"]


def test_open_pages_hear_which_devices_changed(
    world: World, rule: AlertRule, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(bus, "get", lambda: SimpleNamespace(send=lambda *message: sent.append(message)))
    events.listening(events.owner_group(world.owner.pk))
    measured(world.training, *[95] * 5)
    with django_capture_on_commit_callbacks(execute=True):
        alerts.evaluate(NOON)
    payload = {"event": "device", "device": str(world.training.pk), "alerts": True}
    assert (events.owner_group(world.owner.pk), {"type": "live.events", "payload": [payload]}) in sent


def test_the_number_of_queries_does_not_grow_with_the_fleet(
    world: World, rule: AlertRule, django_assert_max_num_queries: Any
) -> None:
    AlertRule.objects.create(metric="memory", threshold=90, clear_below=80, minutes=5)
    for number in range(30):
        machine = device(world.owner, f"d{number}", hardware={"ram_bytes": 10 * GB})
        measured(machine, *[95] * 5, ram_free_bytes=GB / 2)
    with django_assert_max_num_queries(20):
        assert alerts.evaluate(NOON) == (60, 0)
    with django_assert_max_num_queries(6):
        assert alerts.evaluate(NOON) == (0, 0)


@pytest.mark.parametrize(
    ("metric", "means", "expected"),
    [
        ("cpu", {"cpu": 42.0}, 42.0),
        ("memory", {"ram_free_bytes": 2.0 * GB}, 80.0),
        ("memory", {}, None),
        ("gpu", {"gpu0.load": 10.0, "gpu1.load": 70.0, "gpu1.watts": 300.0}, 70.0),
        ("gpu", {"cpu": 5.0}, None),
        ("disk", {"disk_free_bytes": 5.0 * GB, "disk_total_bytes": 100.0 * GB}, 95.0),
        ("disk", {"disk_free_bytes": 5.0 * GB}, None),
    ],
)
def test_the_use_of_each_resource_in_per_cent(
    world: World, metric: str, means: dict[str, float], expected: float | None
) -> None:
    Device.objects.filter(pk=world.training.pk).update(hardware={"ram_bytes": 10 * GB})
    measured(world.training, 1.0)
    TelemetryBucket.objects.update(means=means)
    use = usage.newest(NOON)[world.training.pk].percent(metric)
    assert use == (None if expected is None else pytest.approx(expected))


def test_a_device_that_told_no_hardware_has_no_known_memory(world: World) -> None:
    measured(world.training, 1.0, ram_free_bytes=GB)
    assert usage.newest(NOON)[world.training.pk].percent("memory") is None


BAD: list[tuple[str, dict[str, Any]]] = [
    ("metric", {"metric": "luck"}),
    ("threshold", {"threshold": 101}),
    ("threshold", {"threshold": 0}),
    ("clear_below", {"clear_below": 95}),
    ("clear_below", {"clear_below": -1}),
    ("minutes", {"minutes": 0}),
    ("minutes", {"minutes": 241}),
]
GOOD = {"metric": "memory", "threshold": 95, "clear_below": 90, "minutes": 10}


@pytest.mark.parametrize(("field", "change"), BAD)
def test_a_rule_that_makes_no_sense_is_refused_by_field(
    world: World, field: str, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        alert_rules.create(world.admin, **{**GOOD, **change})
    assert caught.value.field == field
    answer = client(world.admin).post("/api/v1/alert-rules", {**GOOD, **change}, format="json")
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)
    assert not AlertRule.objects.exists()


def test_admins_make_change_and_remove_rules_over_the_api_and_it_is_noted(world: World) -> None:
    api = client(world.admin)
    made = api.post("/api/v1/alert-rules", GOOD, format="json").json()
    assert made["enabled"] is True
    address = f"/api/v1/alert-rules/{made['id']}"
    assert api.patch(address, {"threshold": 92}, format="json").json()["threshold"] == 92
    assert api.patch(address, {"clear_below": 93}, format="json").status_code == 400
    assert api.delete(address).status_code == 204
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert actions == {"alert-rule.create", "alert-rule.change", "alert-rule.remove"}


def test_only_admins_change_rules(world: World, rule: AlertRule) -> None:
    for act in (
        lambda: alert_rules.change(rule, world.researcher),
        lambda: alert_rules.remove(rule, world.owner),
    ):
        with pytest.raises(NotAllowed):
            act()


def test_a_platform_starts_with_rules_for_memory_and_disk_and_makes_them_once(world: World) -> None:
    alert_rules.make_defaults()
    assert [rule.metric for rule in AlertRule.objects.all()] == ["disk", "memory"]
    AlertRule.objects.all().delete()
    alert_rules.make_defaults()
    assert not AlertRule.objects.exists()


def test_the_api_shows_the_alerts_of_devices_that_one_may_see(world: World, rule: AlertRule) -> None:
    measured(world.training, *[95] * 5)
    measured(world.foreign_device, *[95] * 5)
    alerts.evaluate(NOON)
    minutes_later(world.training, 1, 20)
    seen = {
        person: {one["device_name"] for one in client(user).get("/api/v1/alerts").json()["results"]}
        for person, user in world.people.items()
        if person != "outsider"
    }
    everything = {"otto-desk", "olga-desk"}
    assert seen == {
        "owner": {"otto-desk"},
        "viewer": everything,
        "researcher": everything,
        "admin": everything,
    }
    open_ = client(world.admin).get("/api/v1/alerts?open=true").json()["results"]
    assert [(one["device_name"], one["rule"]["metric"]) for one in open_] == [("olga-desk", "cpu")]
